"""Rendering on several ranks: the numbers and images of one process, videos in order, one writer of files and lines."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

import engine.commands.render
from common import ranks
from engine.commands.render import main
from engine.evaluation.expert import evaluate_expert
from engine.evaluation.measures import lpips_weights
from engine.evaluation.measures.lpips_weights import LoadedLpips
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.run import Run
from router import ENSEMBLES
from scenes.types import FrameStore
from tests.on_ranks import ends_of, on_ranks
from tests.small_world import FRAMES, HEIGHT, WIDTH, small_run

OPTIONS = EvaluationOptions(images=True, maps=("grid", "depth", "truth"), metrics=("cvvdp",))
OF_ITS_TIME = ("timing", "peak_gpu_memory_mib")  # keys of metrics.json that differ from run to run


class Moving(FrameStore):
    """A square that moves over grey: some pixels move in every frame."""

    def read(self, view: int, frame: int) -> np.ndarray:
        pixels = np.full((HEIGHT, WIDTH, 3), 60 + 60 * view, np.uint8)
        pixels[4:12, 3 + 3 * frame : 9 + 3 * frame] = 250
        return pixels


class ClipMean:
    """Stands for pycvvdp.cvvdp: the JOD is the mean over a whole clip, in which every frame has another weight."""

    def __init__(self, **_settings: object) -> None:
        pass

    def predict(self, images: np.ndarray, truths: np.ndarray, **_settings: object) -> tuple[float, None]:
        weights = np.arange(1, 1 + len(images))[:, None, None, None]
        return float((weights * (images.astype(float) - truths)).mean()), None


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    package = ModuleType("pycvvdp")
    package.cvvdp, package.__spec__ = ClipMean, ModuleSpec("pycvvdp", None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycvvdp", package)
    monkeypatch.setattr(
        lpips_weights,
        "load_lpips",
        lambda net, path: LoadedLpips(network=None, source="none"),
    )
    small = small_run(tmp_path)
    return replace(small, scene=replace(small.scene, frames=Moving()))


def results(folder: Path) -> dict[str, object]:
    facts = json.loads((folder / "metrics.json").read_text())
    frames = [{**frame, "seconds": None} for frame in facts["per_frame"]]
    named = {key: {**facts[key], "seconds": None} for key in ("best_frame", "worst_frame")}
    return {name: value for name, value in facts.items() if name not in OF_ITS_TIME} | named | {"per_frame": frames}


def pngs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def video(path: Path) -> tuple[list[int], np.ndarray]:
    with av.open(str(path)) as opened:
        shown = [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in opened.decode(video=0)]
    return [pts for pts, _ in shown], np.stack([image for _, image in shown])


def test_ranks_give_the_numbers_and_images_of_one_process(run, tmp_path):
    def evaluate(name: str) -> int:
        options = replace(OPTIONS, progress=False)
        return len(evaluate_mixture(run, views=[0, 1], folder=tmp_path / name, options=options).files)

    alone = evaluate("one")
    assert on_ranks(lambda: evaluate("three"), count=3)[0] == alone  # blocks of 3, 3 and 2: over a camera's end
    one, three = tmp_path / "one", tmp_path / "three"
    expected = results(one)
    assert results(three) == expected
    means = expected["means"]["MoE"]  # type: ignore[index]
    assert means["tpsnr"] and means["cvvdp"] and means["psnr_moving"] and "best_constant" in expected["means"]  # type: ignore[operator]
    assert pngs(three) == pngs(one) and len(pngs(one)) == 2 * FRAMES * 10
    videos = sorted(path.name for path in (one / "videos").iterdir())
    assert sorted(path.name for path in (three / "videos").iterdir()) == videos and len(videos) == 10
    for name in videos:
        times, images = video(one / "videos" / name)
        parts, joined = video(three / "videos" / name)
        assert times == parts and len(times) == 2 * FRAMES
        off = np.abs(images.astype(int)[:, None] - joined[None]).mean(axis=(2, 3, 4))
        assert off.diagonal().mean() < 10, name  # other bits than one encoder's: each part begins with a whole image
        assert name != "video_gt.mp4" or (off.argmin(axis=1) == np.arange(2 * FRAMES)).all()
    assert sorted(path.name for path in three.iterdir()) == sorted(path.name for path in one.iterdir())


def test_more_ranks_than_frames(run, tmp_path):
    def evaluate(name: str) -> None:
        options = replace(OPTIONS, frames=(2,), progress=False)
        evaluate_mixture(run, views=[0], folder=tmp_path / name, options=options)

    evaluate("one")
    on_ranks(lambda: evaluate("two"))
    assert results(tmp_path / "two") == results(tmp_path / "one")
    assert video(tmp_path / "two" / "videos" / "video_MoE.mp4")[0] == [0]


@pytest.mark.parametrize("novel", [[], ["--y_offset", "0.1", "--maps", "depth"]])
def test_the_command_writes_and_prints_once(run, tmp_path, monkeypatch, novel):
    folder = tmp_path / "save"
    folder.mkdir()
    ready = replace(run, ensemble=ENSEMBLES["E3"], iteration=7)
    monkeypatch.setattr(engine.commands.render, "load_run", lambda *_, **__: ready)
    monkeypatch.setattr(engine.commands.render, "saved_ensemble", lambda save_path, iteration: "E3")

    def render() -> int:
        return main("E3", ["--save_path", str(folder), "--skip_train", *novel])

    first, second = ends_of(render, is_command=True)
    assert (first.code, second.code, first.value, second.value) == (0, 0, 0, 0), first.said + second.said
    assert second.said == ""
    assert "written:" in first.said
    if not novel:
        assert "2 ranks: 4 frames, in blocks of 2" in first.said
        assert json.loads((folder / "mean_metrics.json").read_text())["MoE-GS_PSNR"]
        assert len(json.loads((folder / "test" / "itrs_7" / "metrics.json").read_text())["per_frame"]) == FRAMES
    (shown,) = folder.rglob("video_MoE.mp4")
    assert len(video(shown)[0]) == FRAMES


def test_a_rank_that_fails_leaves_no_numbers_and_no_videos(run, tmp_path):
    class Broken(Moving):
        def read(self, view: int, frame: int) -> np.ndarray:
            if frame == FRAMES - 1 and ranks.rank() == 1:
                raise OSError("the disk is gone")
            return super().read(view, frame)

    broken = replace(run, scene=replace(run.scene, frames=Broken()))
    options = replace(OPTIONS, progress=False, constant_frames=0, metrics=())
    first, second = ends_of(lambda: evaluate_mixture(broken, views=[0], folder=tmp_path / "out", options=options))
    assert (first.code, first.said) == (1, "") and "the disk is gone" in second.said
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".json", ".mp4")]


def test_an_expert_alone_has_the_scores_of_one_process(run, tmp_path):
    expert = run.experts[0]

    def evaluate(name: str) -> dict[str, object]:
        result = evaluate_expert(
            expert, run.scene, compute=run.compute, folder=tmp_path / name, frames=range(3), networks=True, quiet=True
        )
        return {"scores": dict(result.scores), "hashes": dict(result.hashes), "frames": result.frames}

    alone = evaluate("one")
    assert on_ranks(lambda: evaluate("two")) == [alone, alone]
    assert pngs(tmp_path / "two") == pngs(tmp_path / "one") != {}
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert one["per_frame"] == two["per_frame"] and one["means"]["tpsnr"] is not None
