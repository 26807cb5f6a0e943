"""The origin of numbers in result files: hashes, sizes, times, revision, and results that are kept."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.maths.tensors import to_uint8
from engine.commands import train
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.provenance import (
    OF_FRAMES,
    ImageHashes,
    expert_seconds,
    frames_per_second,
    keep_other_results,
    megabytes,
    model_folder,
)
from engine.runs.revision import revision
from engine.runs.saved.checkpoint import load_checkpoint
from engine.runs.saved.loading import load_run
from engine.training.curve import CURVE_FILE, read_curve
from experts.base import Provenance
from tests.small_world import use_small_world

OPTIONS = EvaluationOptions(progress=False, videos=False, images=True, networks=False)


def of_frames(*frames: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(frame).digest() for frame in frames)).hexdigest()


def test_images_are_hashed_by_their_eight_bit_values_in_order() -> None:
    rows = torch.tensor([[[0.0, 1.0]], [[0.5, -1.0]], [[2.0, 0.2]]])  # [3, 1, 2]
    truth = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    with ImageHashes() as hashes:
        for image in (rows, rows.flip(2)):
            hashes.add({"MoE": to_uint8(image)}, truth)
    first, second = bytes([0, 128, 255]), bytes([255, 0, 51])
    expected = of_frames(first + second, second + first)
    truths = of_frames(truth.tobytes(), truth.tobytes())
    assert hashes.facts() == {"predictions": {"MoE": expected}, "truth": truths, "rule": OF_FRAMES}


def test_an_error_of_hashing_reaches_the_caller(monkeypatch) -> None:
    monkeypatch.setattr(hashlib, "sha256", lambda image: SimpleNamespace(digest=lambda: bytes(1 // len(image))))
    images = [np.zeros((rows, 1, 3), np.uint8) for rows in (1, 0)]
    with pytest.raises(ZeroDivisionError), ImageHashes() as hashes:
        hashes.add({"MoE": images[1]}, images[0])


def test_an_evaluation_hashes_what_it_writes_as_images(flat_run, tmp_path: Path) -> None:
    evaluate_mixture(flat_run, views=[0], folder=tmp_path, options=OPTIONS)
    facts = json.loads((tmp_path / "metrics.json").read_text())
    expected = of_frames(*(bytes([110 + frame]) * (36 * 34 * 3) for frame in range(3)))
    assert facts["hashes"]["predictions"]["high"] == expected
    assert facts["hashes"]["truth"] == of_frames(*[bytes([100]) * (36 * 34 * 3)] * 3)
    assert set(facts["hashes"]["predictions"]) == {"MoE", "low", "high", "uniform_mean"}
    assert facts["gaussians"] == {"experts": {"low": 1, "high": 1}, "total": 2}
    assert facts["timing"]["frames_per_second"] > 0


def test_the_first_three_frames_warm_up() -> None:
    assert frames_per_second([9.0, 9.0, 9.0, 0.1, 0.5, 0.2]) == pytest.approx(5.0)
    assert frames_per_second([1.0, 0.5, 0.25]) == pytest.approx(2.0)


def test_megabytes_count_files_and_the_routers_tensors(flat_run, tmp_path: Path) -> None:
    sizes = (2_000_000, 500_000)
    for expert, size in zip(flat_run.experts, sizes, strict=True):
        file = tmp_path / f"{expert.name}.ply"
        file.write_bytes(bytes(size))
        expert.provenance = Provenance(files=(file,), iteration=1)
    head = sum(tensor.nbytes for tensor in flat_run.router.head.state_dict().values())
    router = head + 2 * 3 * 4  # three numbers of each of two Gaussians
    found = megabytes(flat_run)
    assert found["experts"] == {"low": 2.0, "high": 0.5}
    assert found["router"] == pytest.approx(router / 1e6)
    assert found["total"] == pytest.approx(2.5 + router / 1e6)


def test_seconds_of_segments_are_added_and_one_without_a_report_is_unknown(flat_run, tmp_path: Path) -> None:
    files = []
    for name, seconds in (("0to149", 20.0), ("150to299", 22.5)):
        file = tmp_path / name / "point_cloud" / "iteration_3" / "point_cloud.ply"
        file.parent.mkdir(parents=True)
        file.touch()
        files.append(file)
        assert model_folder(file) == tmp_path / name
        (tmp_path / name / "train_expert.json").write_text(json.dumps({"training_seconds": seconds}))
    expert = flat_run.experts[0]
    expert.provenance = Provenance(files=tuple(files), iteration=3)
    assert expert_seconds(expert) == 42.5
    (tmp_path / "0to149" / "train_expert.json").unlink()
    assert expert_seconds(expert) is None


def test_a_rendering_of_another_router_keeps_the_earlier_result(
    flat_run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    evaluate_mixture(flat_run, views=[0], folder=tmp_path, options=OPTIONS)
    earlier = (tmp_path / "metrics.json").read_bytes()
    evaluate_mixture(flat_run, views=[0], folder=tmp_path, options=OPTIONS)
    assert not (tmp_path / "metrics.old-1.json").exists() and "kept" not in caplog.text
    with torch.no_grad():
        flat_run.router.features.static[0].fill_(3.0)
    evaluate_mixture(flat_run, views=[0], folder=tmp_path, options=OPTIONS)
    aside = json.loads((tmp_path / "metrics.old-1.json").read_text())
    assert aside["hashes"] == json.loads(earlier)["hashes"]
    assert "metrics.old-1.json (differs in: router)" in caplog.text


@pytest.mark.parametrize(
    ("earlier", "kept"),
    [
        ('{"hashes": {"router": "a"}, "protocol": {"name": "8bit"}}', False),
        ('{"hashes": {"router": "b"}}', True),
        ('{"hashes": {"router": "a"}, "protocol": {"name": "8bit_vgg"}}', True),
        ('{"hashes": {"truth": "c"}}', False),  # nothing in common
        ("{}", False),
        ("no JSON", True),
    ],
)
def test_other_hashes_or_another_protocol_are_kept(tmp_path: Path, earlier: str, kept: bool) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(earlier)
    report = {"hashes": {"router": "a", "predictions": {"MoE": "d"}}, "protocol": {"name": "8bit"}}
    aside = keep_other_results(path, report)
    assert (aside is not None) is kept
    assert aside is None or aside.read_text() == earlier


MEASURED = {
    "novel_near": None,
    "coverage_guard": True,
    "network_precision": "float32",
    "fast": False,
    "temperature": 1.0,
    "lpips_weights": "not asked for",
    "lpips_vgg_weights": "lpips 0.1",
    "baselines": {"uniform_mean": "alike", "STG twice": {"files": "a"}, "best_constant": {"fitted_on": {"cam00": [0]}}},
    "means": {
        "MoE": {"psnr": 30.0, "flip": 0.1, "lpips": None, "lpips_vgg": 0.2},
        "STG twice": {"psnr": 29.0, "flip": 0.2},
    },
    "per_frame": [{"camera": "cam00", "frame": 0}, {"camera": "cam00", "frame": 1}],
}


@pytest.mark.parametrize(
    ("changed", "differing"),
    [
        ({}, None),
        (
            {"means": MEASURED["means"] | {"MoE": {"psnr": 31.0, "flip": 0.1, "lpips": 0.3, "lpips_vgg": 0}}},
            None,
        ),  # more than before
        ({"means": {name: {"psnr": 30.0, "flip": None, "lpips_vgg": 1} for name in ("MoE", "STG twice")}}, "flip"),
        ({"means": {"MoE": MEASURED["means"]["MoE"]}}, "STG twice"),
        ({"means": {"psnr": 30.0}}, "MoE, STG twice"),
        ({"per_frame": MEASURED["per_frame"][1:]}, "frames"),
        ({"per_frame": [*MEASURED["per_frame"], {"camera": "cam01", "frame": 0}]}, None),
        ({"novel_near": 0.3}, "novel_near"),
        ({"coverage_guard": False, "temperature": 0.5}, "temperature, coverage_guard"),
        ({"network_precision": "float16"}, "network_precision"),
        ({"fast": True}, "fast"),
        ({"lpips_vgg_weights": "other.npz"}, "lpips_vgg"),
        ({"lpips_weights": "other.npz"}, None),  # there were no scores of it
        ({"baselines": {"STG twice": {"files": "b"}}}, "baselines"),
        ({"baselines": {"best_constant": {"fitted_on": {"cam00": [1]}}}}, "baselines"),
    ],
)
def test_results_that_others_lack_or_of_other_conditions_are_kept(
    tmp_path: Path, changed: dict[str, object], differing: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(MEASURED))
    aside = keep_other_results(path, MEASURED | changed)
    assert (aside is None) is (differing is None)
    assert aside is None or caplog.messages == [f"kept the earlier metrics.json as {aside} (differs in: {differing})"]


@pytest.mark.parametrize(("psnr", "frames", "differing"), [(30.0, 2, None), (30.1, 2, "scores"), (30.0, 1, "truth")])
def test_a_result_of_fewer_frames_goes_where_their_scores_are_alike(
    tmp_path: Path, psnr: float, frames: int, differing: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "metrics.json"
    scored = {"camera": "cam00", "frame": 0, "scores": {"MoE": {"psnr": psnr, "lpips": None}}}
    path.write_text(json.dumps({"hashes": {"router": "a", "truth": "b"}, "per_frame": [scored]}))
    again = [{"camera": "cam00", "frame": n, "scores": {"MoE": {"psnr": 30.0, "lpips": 0.2}}} for n in range(frames)]
    aside = keep_other_results(path, {"hashes": {"router": "a", "truth": "c"}, "per_frame": again})
    assert (aside is None) is (differing is None)
    assert aside is None or caplog.messages == [f"kept the earlier metrics.json as {aside} (differs in: {differing})"]


def test_kept_results_never_replace_each_other(tmp_path: Path) -> None:
    for router in "abc":
        path = tmp_path / "metrics.json"
        keep_other_results(path, {"hashes": {"router": router}})
        path.write_text(json.dumps({"hashes": {"router": router}}))
    assert [json.loads((tmp_path / f"metrics.old-{n}.json").read_text())["hashes"]["router"] for n in (1, 2)] == [
        "a",
        "b",
    ]


def test_a_revision_is_the_commit_and_says_that_files_were_changed(tmp_path: Path) -> None:
    assert revision(tmp_path) is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert len(commit) == 40 and revision(tmp_path) == commit
    (tmp_path / "untracked").touch()
    assert revision(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert revision(tmp_path) == f"{commit}-dirty"
    (tmp_path / "inside").mkdir()
    assert revision(tmp_path / "inside") is None


def test_a_trained_run_knows_its_seconds_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = use_small_world(monkeypatch, tmp_path)
    out = tmp_path / "out"
    arguments = [*flags, f"--save_path={out}", "--backend=torch", "--iterations=10", "--seed=3"]
    assert train.main("E3", arguments) == 0
    saved = load_checkpoint(out / "router" / "iteration_10")
    run = load_run(out)
    facts = json.loads((out / "test" / "itrs_10" / "metrics.json").read_text())
    (row,) = read_curve(out / CURVE_FILE)
    assert saved.training_seconds is not None and saved.training_seconds > 0
    assert run.training_seconds == saved.training_seconds == facts["training_seconds"]["router"]
    assert row["seconds"] == pytest.approx(saved.training_seconds, abs=1e-3)
    assert (run.seed, facts["seed"]) == (3, 3)
    assert facts["training_seconds"]["experts"] == dict.fromkeys(("Ex4DGS", "E-D3DGS", "4DGaussians"))
    arguments = [f"--save_path={out}", "--resume", "--iterations=20", "--quiet"]
    assert train.main("E3", arguments) == 0
    later = load_checkpoint(out / "router" / "iteration_20").training_seconds
    assert later is not None and later > saved.training_seconds
    assert len(read_curve(out / CURVE_FILE)) == 2


def test_an_older_checkpoint_does_not_record_its_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert train.main("E3", [*use_small_world(monkeypatch, tmp_path), f"--save_path={out}", "--iterations=1"]) == 0
    path = out / "router" / "iteration_1" / "router.json"
    facts = json.loads(path.read_text())
    del facts["training_seconds"], facts["hash"]
    path.write_text(json.dumps(facts))
    run = load_run(out)
    assert run.training_seconds is None
    assert replace(run, training_seconds=1.0).training_seconds == 1.0
