"""docs/extending/expert.md: one more expert is trained, blended, rendered and reported."""

from __future__ import annotations

import json
import math
from pathlib import Path

from demo.playroom import RigSize
from engine.evaluation.rivals.oracles import ORACLES
from engine.reporting.against_experts import verdict_of
from engine.reporting.results import read_results
from experts.formats.ply import read_ply, select
from tests.extending.pages import Product, answers, copy_product, follow, read_page, without_edits

SIZE = RigSize(width=64, height=48, num_frames=4, num_cameras=4)
HINTS = """
import sys

from benchmarks.training_step.command import command
from engine.commands.train import main

scene, out = sys.argv[1:]
data = ["--quiet", "--source_path", scene, "--save_path", f"{out}/other"]
try:
    main("E2_toy", ["--help"])
except SystemExit:
    main("E2_toy", [*data, "--toy_path", f"{out}/toy", "--stg_path", f"{out}/toy"])
    own = ("model_path", "emb_path", "stg_path", "fgaussian_path")
    main("E4", [*data, *(f"--{flag}={out}/toy" for flag in (*own, "toy_path"))])
size = ["--gaussians", "60", "--width", "24", "--height", "16", "--iterations", "2"]
command(["--ensemble", "E2_toy", *size], prog="", description="")
"""


def test_the_page_adds_an_expert(tmp_path: Path) -> None:
    product = copy_product(tmp_path, size=SIZE)
    *done, reported = follow(read_page("expert"), product)
    assert [ran.code for ran in done] == [0, 0, 0, 0, 0], done[-1].err
    _, _, blended, scripts, tested = done
    assert "passed" in tested.out and "failed" not in tested.out, tested.out
    check_training(product)
    check_run(product.out / "run", blended.out, iteration=50)
    check_run(product.out / "run_E2", scripts.out, iteration=10)
    verdict = verdict_of(read_results(product.out / "run"))
    assert reported.code == (0 if verdict.wins else 1)
    assert [line.split()[0] for line in reported.out.splitlines()[2:4]] == ["Toy", "STG"]
    check_hints(product)
    check_tests(product)


def check_training(product: Product) -> None:
    folder = product.out / "toy"
    report = json.loads((folder / "train_expert.json").read_text())
    assert (report["expert"], report["preset"], report["settings"]["velocity"]) == ("Toy", "n3v", 0.02)
    assert len(report["history"]) == 4 and report["history"][0]["psnr"] < report["scores"]["psnr"]
    assert report["gaussians"] > report["gaussians_at_start"]
    velocities = select(
        read_ply(folder / "point_cloud/iteration_300/point_cloud.ply"), ["toy_velocity_0", "toy_velocity_2"]
    )
    assert len(velocities) == report["gaussians"] and bool((velocities != 0).any(0).all())


def check_run(run: Path, printed: str, *, iteration: int) -> None:
    router = json.loads((run / f"router/iteration_{iteration}/router.json").read_text())
    assert [expert["name"] for expert in router["experts"]] == ["Toy", "STG"]
    folder = run / f"test/itrs_{iteration}"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics["means"]) == ["MoE", "Toy", "STG", "uniform_mean", "best_constant", *ORACLES]
    assert math.isclose(sum(metrics["mean_gates"].values()), 1, rel_tol=1e-4)
    assert all(math.isfinite(frame["scores"]["Toy"]["psnr"]) for frame in metrics["per_frame"])
    (row,) = (line.split() for line in printed.splitlines() if line.startswith("  Toy "))
    assert row[1] == f"{metrics['means']['Toy']['psnr']:.2f}"
    for video in ("video_Toy.mp4", "weights_Toy.mp4"):
        assert (folder / "videos" / video).stat().st_size > 0


def check_hints(product: Product) -> None:
    """Flags and messages of the training scripts and the profiler know the row."""
    hints = product.run("python", "-c", HINTS, str(product.scene), str(product.out))
    assert "--toy_path" in hints.out and "folder of the trained Toy model (required)" in hints.out
    wrong_flag, wrong_script = (line for line in hints.err.splitlines() if line.startswith("error: "))
    assert wrong_flag.endswith("looks like Toy, STG expected; give it to --toy_path")
    assert wrong_script == "error: --toy_path is not used by E4: train_E2_toy.py uses it; leave it out"
    assert hints.code == 0 and "Toy: Gaussians of the frame" in hints.out, hints.err


def check_tests(product: Product) -> None:
    """The tests of all experts test the new one too, and those of ensembles take its row."""
    files = [f"tests/experts/test_{name}.py" for name in ("experts", "gradients")]
    tests = product.run("python", "-m", "pytest", "-q", "--collect-only", *files)
    assert tests.out.count("[Toy]") >= 3, tests.out


def test_without_the_row_there_is_no_such_expert(tmp_path: Path) -> None:
    blocks = read_page("expert")
    (ran,) = follow(without_edits(blocks), copy_product(tmp_path, size=SIZE))
    assert (ran.code, [ran.err]) == (2, answers(blocks))
