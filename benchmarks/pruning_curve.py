"""PSNR, speed and size of a trained run over shares of removed Gaussians: `python -m benchmarks.pruning_curve`."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.compression.pruned import check_prunable, measured_speed
from engine.compression.ranked_frames import frames_between, tell_more_frames
from engine.compression.rounds import Pruning, prune_in_rounds, ratio_goal
from engine.compression.scores import run_scores
from engine.compression.sizes import WrittenSizes, written_sizes
from engine.compression.tuning import Tuning
from engine.errors import user_errors
from engine.evaluation.held_out import mixture_psnr
from engine.runs.device import device_facts
from engine.runs.run import Run
from engine.runs.saved.loading import load_run, trained_config
from engine.settings.parsing.fields import with_values
from engine.settings.prune import PruneConfig
from router.pruning import SCORES

TABLE = "pruning_curve.md"
HEADINGS = ("score", "trained", "removed", "Gaussians", "PSNR, dB", "frames a second", "MB", "seconds")
DEFAULTS = PruneConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Measurements of a run at its held-out cameras."""

    gaussians: int
    psnr: float  # dB, mean
    speed: float  # frames a second
    megabytes: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Prune a trained run to several shares, and print a table of PSNR, speed and size at its held-out cameras."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        run = load_run(given.run, overrides=_overrides(given))
        check_prunable(run.experts)
        tell_more_frames(run, given.score_frames)
        given.out.mkdir(parents=True, exist_ok=True)
        print(f"{given.run}, {device_facts(run.compute)}", flush=True)
        lines: list[str] = []
        for row in _rows(run, given):
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
            (given.out / TABLE).write_text(
                "\n".join(lines) + "\n", encoding="utf-8"
            )  # what is measured is there, whatever comes
    except user_errors() as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning_curve", description=main.__doc__)
    parser.add_argument("run", type=Path, help="folder of the trained run")
    parser.add_argument("--out", type=Path, required=True, help=f"folder of the table, {TABLE}")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.55, 0.7, 0.8, 0.9], help="shares to remove")
    parser.add_argument(
        "--tune", choices=("all", "router", "none"), nargs="+", default=["router", "none"], help="what is trained"
    )
    parser.add_argument("--scores", choices=SCORES, nargs="+", default=[DEFAULTS.score], help="what ranks Gaussians")
    parser.add_argument("--scope", choices=("mixture", "expert"), default=DEFAULTS.scope, help="as in moegs.py prune")
    parser.add_argument("--rounds", type=int, default=DEFAULTS.rounds, help="as in moegs.py prune")
    parser.add_argument("--iterations", type=int, default=DEFAULTS.iterations, help="as in moegs.py prune")
    parser.add_argument("--rate", type=float, default=DEFAULTS.rate, help="as in moegs.py prune")
    parser.add_argument("--score_frames", type=int, default=DEFAULTS.score_frames, help="as in moegs.py prune")
    parser.add_argument(
        "--test_frames",
        type=int,
        default=10,
        help="frames to score of each held-out camera, between those that Gaussians are ranked at",
    )
    parser.add_argument("--source_path", type=Path, help="folder of the scene, if it was moved")
    parser.add_argument("--expert", action="append", metavar="NAME=PATH", help="folder of an expert that was moved")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="where to compute")
    return parser


def _overrides(given: argparse.Namespace) -> dict[str, Any]:
    moved = {"expert": tuple(given.expert)} if given.expert else {}
    return {"device": given.device, "source_path": given.source_path, "quiet": True, **moved}


def _rows(run: Run, given: argparse.Namespace) -> Iterator[Sequence[str]]:
    """The table's rows: headings, the run as it is, then by score, training and share; scored once for all."""
    frames = frames_between(run, given.score_frames, given.test_frames)
    numbers = partial(_numbers, sizes=written_sizes(run, given.out), frames=frames)
    yield HEADINGS
    yield ["---"] * 3 + ["---:"] * (len(HEADINGS) - 3)
    yield ["", "", "0 %", *_texts(numbers(run)), "0"]
    config = with_values(trained_config(given.run, layout=run.scene.layout), {"quiet": True})
    for score in given.scores:
        scores = run_scores(run, score, frames=given.score_frames, progress=False)
        for tune in given.tune:
            tuning = Tuning(
                what="router" if tune == "none" else tune,
                iterations=0 if tune == "none" else given.iterations,
                rate=given.rate,
            )
            pruning = Pruning(
                score=score,
                scope=given.scope,
                score_frames=given.score_frames,
                rounds=given.rounds,
                tuning=tuning,
            )
            for ratio in given.ratios:
                start = time.perf_counter()
                pruned = prune_in_rounds(run, ratio_goal(run, ratio), pruning, config, scores=scores, quiet=True)
                if pruned is None:
                    raise KeyboardInterrupt
                seconds = time.perf_counter() - start
                yield [score, tune, f"{100 * ratio:g} %", *_texts(numbers(pruned)), f"{seconds:.0f}"]


def _numbers(run: Run, *, sizes: WrittenSizes, frames: Sequence[int]) -> Numbers:
    return Numbers(
        gaussians=sum(expert.num_gaussians for expert in run.experts),
        psnr=mixture_psnr(run, frames=frames),
        speed=measured_speed(run),
        megabytes=sizes.megabytes(run.experts),
    )


def _texts(numbers: Numbers) -> list[str]:
    return [
        f"{numbers.gaussians:,}",
        f"{numbers.psnr:.2f}",
        f"{numbers.speed:.1f}",
        f"{numbers.megabytes:.1f}",
    ]


if __name__ == "__main__":
    sys.exit(main())
