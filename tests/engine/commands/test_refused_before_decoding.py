"""Whatever refuses a command does so before a frame is decoded, which takes minutes and gigabytes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import engine.commands.train_expert
import engine.evaluation.measures.lpips_weights
import engine.runs.experts.loading
import engine.training.expert.opening
import moegs
import scenes.frames.cache.writing
from engine.runs.saved.loading import load_run
from engine.training.expert.opening import CheckedStart
from experts import EXPERTS
from tests.engine.expert_scene import arguments, reloaded, run, write_film

FEW = ("--iterations=2", "--test_iterations")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, two experts, one of two segments, and a run of their router; frames lie in `<world>/cache`."""
    root = tmp_path_factory.mktemp("world")
    film = write_film(root)
    for key, more in (("ed3dgs", ()), ("stg", ("--segments=4",))):
        assert moegs.main(["train-expert", *arguments(film, root / key, key, *FEW, *more)]) == 0
    assert moegs.main(["train", *router(root, root / "cache"), f"--save_path={root / 'run'}"]) == 0
    return root


def router(world: Path, cache: Path, *, stg: str = "stg") -> list[str]:
    """Arguments of a router's training, without the folder of its results."""
    experts = [f"--expert=E-D3DGS={world / 'ed3dgs'}", f"--expert=STG={world / stg}"]
    return [*experts, f"--source_path={world / 'film'}", f"--cache_path={cache}", "--quiet", "--device=cpu", *FEW]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that is refused, with an empty cache in `<tmp_path>/cache`; gives its message."""

    def decode(*args: object, **options: object) -> None:
        raise AssertionError("a frame is decoded")

    def refusal(*command: str) -> str:
        assert moegs.main(list(command)) == 2
        assert not (tmp_path / "cache").exists()
        return capsys.readouterr().err

    monkeypatch.setattr(scenes.frames.cache.writing, "decode", decode)
    return refusal


def test_a_router_of_a_missing_iteration(world, tmp_path, refused):
    flags = [*router(world, tmp_path / "cache"), f"--save_path={tmp_path / 'run'}"]
    assert "iteration 7" in refused("train", *flags, "--load_iteration=7")
    assert not (tmp_path / "run").exists()


def test_a_router_of_an_expert_that_is_too_short(world, tmp_path, refused):
    shutil.copytree(world / "stg" / "stg_0to3", tmp_path / "models" / "stg" / "stg_0to3")
    flags = [*router(world, tmp_path / "cache"), f"--save_path={tmp_path / 'run'}"]
    flags[1] = f"--expert=STG={tmp_path / 'models' / 'stg'}"
    assert "6 frames" in refused("train", *flags)


def test_a_router_that_another_training_would_resume(world, tmp_path, refused):
    shutil.copytree(world / "run", tmp_path / "run")
    flags = [*router(world, tmp_path / "cache"), f"--save_path={tmp_path / 'run'}", "--resume"]
    assert "saved with another --seed than 5" in refused("train", *flags, "--seed=5")
    assert "num_frames is 4" in refused("train", *flags, "--duration=4")
    assert "holds a router trained for 2 iterations" in refused("train", *flags[:-1])


def test_a_rendering_of_a_missing_iteration_or_another_clip(world, tmp_path, refused):
    shutil.copytree(world / "run", tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text()) | {"cache_path": str(tmp_path / "cache")}
    file.write_text(json.dumps(config))
    flags = ["render", f"--save_path={tmp_path / 'run'}", "--quiet"]
    assert "iteration 9 was not saved; available: 2" in refused(*flags, "--iteration=9")
    file.write_text(json.dumps(config | {"duration": 4}))
    assert "num_frames is 4, the router was trained with 6" in refused(*flags)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No expert is loaded."""

    def load(*args: object, **options: object) -> None:
        raise AssertionError("an expert is loaded")

    monkeypatch.setattr(engine.runs.experts.loading, "load_expert", load)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export RUN --to OUT/scene.ply --frame=6", "--frame is 6: the clip has 6 frames, from 0"),
        (
            "export --expert=STG=STG --source_path=FILM --to OUT/one.ply --frame=6",
            "--frame is 6: the clip has 6 frames",
        ),
        ("export RUN --to OUT/scene.ply --content=Ex4DGS", "--content Ex4DGS: no such expert here"),
        (
            "export --expert=STG=STG --source_path=FILM --to OUT/one.ply --content=Fused",
            "--content Fused: no such expert",
        ),
        ("figure RUN --frame=6", "--frame is 6: the clip has the frames 0 to 5"),
        ("figure RUN --camera=cam09", "--camera cam09: the scene has no such camera"),
        (
            "render --save_path=RUN --trajectory=spiral --frames=0:7",
            "--frames is 0:7: give A:B .*; the clip has 6 frames",
        ),
        ("render --save_path=RUN --freeze_time=5.5", "--freeze_time is 5.5: outside of the clip; give 0 to 5"),
        ("render --save_path=RUN --trajectory=OUT/path.json", r"path.json: \[0\]: frame is 9: outside of the clip"),
    ],
)
def test_what_the_scene_does_not_have_is_refused_before_an_expert_is_loaded(
    world, tmp_path, refused, unloaded, command, message
):
    camera = {"world_to_camera": np.eye(4).tolist(), "fx": 40, "fy": 40, "cx": 20, "cy": 16, "width": 40, "height": 32}
    (tmp_path / "path.json").write_text(json.dumps([camera | {"frame": 9}]))
    places = {"RUN": world / "run", "OUT": tmp_path, "FILM": world / "film", "=STG=STG": f"=STG={world / 'stg'}"}
    for name, place in places.items():
        command = command.replace(name, str(place))
    cache = [f"--cache_path={tmp_path / 'cache'}", "--device=cpu", "--quiet"]
    assert re.search(message, refused(*command.split(), *cache))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "no.such=1"), "no.such"),
        (("--preset=nowhere",), "nowhere"),
        (("--points=none.ply",), "none.ply"),
        (("--near=5", "--far=5.5"), "no training camera shows a start point"),
        (("--test_cameras", "cam00", "cam01"), "the training cameras stand in one place"),
        (("--segment=9",), "--segment 9"),
        (("--dssim=1.5",), "--dssim"),
    ],
)
def test_an_experts_training_of_faulty_settings(world, tmp_path, refused, more, message):
    flags = arguments(world / "film", tmp_path / "model", "stg", f"--cache_path={tmp_path / 'cache'}")
    assert message in refused("train-expert", *flags, *more)
    assert not (tmp_path / "model").exists()


def test_a_loss_with_lpips_whose_weights_are_missing(world, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(engine.evaluation.measures.lpips_weights, "SOURCES", {})
    flags = arguments(world / "film", tmp_path / "model", "freetime", f"--cache_path={tmp_path / 'cache'}", *FEW)
    message = refused("train-expert", *flags, "--set", "lpips=0.01")
    assert "the loss has LPIPS" in message and "--lpips_weights" in message
    (tmp_path / "none.npz").write_bytes(b"")
    message = refused("train-expert", *flags, f"--lpips_weights={tmp_path / 'none.npz'}", "--set", "lpips=0.01")
    assert "none.npz" in message
    assert not (tmp_path / "model").exists()


def test_an_experts_training_in_a_folder_that_holds_another(world, tmp_path, refused):
    shutil.copytree(world / "ed3dgs", tmp_path / "model")
    flags = arguments(world / "film", tmp_path / "model", "ed3dgs", f"--cache_path={tmp_path / 'cache'}", *FEW)
    assert "holds a training that reached iteration 2" in refused("train-expert", *flags)
    assert "seed" in refused("train-expert", *flags, "--resume", "--seed=3")
    state = tmp_path / "model" / "training" / "iteration_2.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert "iteration_2.pt" in refused("train-expert", *flags, "--resume")


def test_the_second_segment_before_the_first_is_trained(world, tmp_path, refused):
    shutil.copytree(world / "stg" / "stg_4to5", tmp_path / "stg" / "stg_4to5")
    flags = arguments(world / "film", tmp_path / "stg", "stg", f"--cache_path={tmp_path / 'cache'}", *FEW)
    message = refused("train-expert", *flags, "--segments=4", "--resume", "--seed=3")
    assert "stg_4to5" in message and "saved with other settings" in message
    assert not (tmp_path / "stg" / "stg_0to3").exists()


@pytest.mark.parametrize("points", ["random", "file"])
def test_the_check_and_its_trial_change_no_bit_of_a_training(world, tmp_path, monkeypatch, points):
    chosen = []
    if points == "file":
        positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
        np.savez(tmp_path / "points.npz", xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
        chosen = [f"--points={tmp_path / 'points.npz'}"]
    fresh = f"--cache_path={tmp_path / 'cache'}"  # with frames to decode, so that iterations are tried
    assert run(world / "film", tmp_path / "checked", "ed3dgs", *FEW, *chosen, fresh) == 0
    assert run(world / "film", tmp_path / "kept", "ed3dgs", *FEW, *chosen) == 0  # opened once
    recipe = EXPERTS["E-D3DGS"].training.presets["n3v"].recipe
    unchecked = CheckedStart(recipe=recipe, cloud=None, gaussians=50)
    monkeypatch.setattr(engine.commands.train_expert, "check_expert_task", lambda *_, **__: unchecked)
    assert run(world / "film", tmp_path / "unchecked", "ed3dgs", *FEW, *chosen) == 0
    one, *others = (reloaded("ed3dgs", tmp_path / name) for name in ("checked", "kept", "unchecked"))
    for other in others:
        assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_start_points_are_loaded_once_where_no_frame_colours_them(world, tmp_path, monkeypatch):
    loads = []
    load = engine.training.expert.opening.load_start_points

    def watched(*arguments, **options):
        loads.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(engine.training.expert.opening, "load_start_points", watched)
    positions = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 5), (50, 3)).astype(np.float32)
    np.savez(tmp_path / "points.npz", xyz=positions, rgb=np.full((50, 3), 0.5, np.float32))
    assert run(world / "film", tmp_path / "model", "ed3dgs", *FEW, f"--points={tmp_path / 'points.npz'}") == 0
    assert len(loads) == 1
    assert run(world / "film", tmp_path / "random", "ed3dgs", *FEW) == 0  # of frames that are decoded
    assert len(loads) == 2
    fresh = f"--cache_path={tmp_path / 'cache'}"
    assert run(world / "film", tmp_path / "again", "ed3dgs", *FEW, fresh) == 0
    assert len(loads) == 4


def test_the_trials_of_a_router_change_no_bit_of_it_and_no_score(world, tmp_path, capsys):
    states, scores = [], []
    for name, cache in (("tried", tmp_path / "cache"), ("known", world / "cache")):
        flags, folder = router(world, cache), tmp_path / name
        assert moegs.main(["train", *flags, f"--save_path={folder}"]) == 0
        states.append(dict(load_run(folder, needed="none").router.state_dict()))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # to decode for the rendering too
        assert moegs.main(["render", f"--save_path={folder}", "--skip_train"]) == 0
        scores.append(json.loads((folder / "mean_metrics.json").read_text())["MoE-GS_PSNR"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert scores[0] == scores[1]
    times = [line for line in capsys.readouterr().err.splitlines() if "scoring takes about" in line]
    assert len(times) == 1 and "(6 frames of " in times[0], "told where frames had to be decoded, and only there"
