"""Let one expert of a run learn from its mixture: python moegs.py distill SAVE_PATH --expert NAME --out FOLDER."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.text.tables import Column, table_lines
from common.text.units import MEGABYTE
from common.text.wording import counted
from engine.compression.distillation import GROWTHS, Distillation, distil
from engine.compression.distilled_files import write_distilled
from engine.compression.trainers import check_trainable
from engine.evaluation.held_out import ImageAt, held_out_psnr, mixtures_of
from engine.evaluation.provenance import megabytes
from engine.evaluation.scoring import evenly_spread
from engine.runs.alone import alone_at
from engine.runs.experts.images import image_of
from engine.runs.experts.novel_near import lone_rules
from engine.runs.experts.pictures import decode_pictures, refuse_pictures
from engine.runs.run import Run
from engine.runs.saved.checkpoint import saved_experts
from engine.runs.saved.loading import load_run, trained_config
from engine.runs.saved.parts import check_apart_from_scene, parts_of_run
from engine.runs.scene import decode
from engine.settings.distill import (
    MOVED,
    DistillConfig,
    check_distill_config,
    check_growth,
    find_name,
    read_distill_settings,
    run_overrides,
)
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.fields import with_values
from engine.settings.parsing.paths import check_apart
from engine.settings.training.experts import folders_by_name
from experts import Expert
from experts.training.gaussians.relocation import GROWTH
from scenes import needed_views

logger = logging.getLogger(__name__)

MIXTURE = "mixture"
REACHED = 0.95  # of the number of Gaussians to grow to, below which a user is told
COLUMNS = (
    Column(gap=0, left=True),
    Column(heading="PSNR, dB", gap=2),
    Column(heading="Gaussians", gap=2),
    Column(heading="MB", gap=2),
)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes the distilled expert and says what it gained; returns the exit code."""
    config = read_distill_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    save_path, out = check_distill_config(config)
    iteration = None if config.iteration == -1 else config.iteration
    names = saved_experts(save_path, iteration)
    moved = folders_by_name(config.overrides.moved, names, flag=MOVED)
    check_apart("--out", out, parts_of_run(save_path, iteration, moved), folder=True)
    _refuse_pictures(config, names)
    out = out.resolve()  # a link stays, and its folder is filled
    with alone_at(out, "--out"):
        return _distil(config, save_path, out)


def _distil(config: DistillConfig, save_path: Path, out: Path) -> int:
    """Distils an expert of a run that can be, into a folder that no other command writes."""
    overrides, iteration = run_overrides(config), None if config.iteration == -1 else config.iteration
    check = partial(check_apart_from_scene, "--out", out, save_path=save_path)
    run = load_run(save_path, iteration=iteration, overrides=overrides, needed="none", check=check, flag=MOVED)
    name = find_name(config.expert, [expert.name for expert in run.experts])
    before = next(expert for expert in run.experts if expert.name == name)
    check_growth(config, before)
    check_trainable(before, run.scene.num_frames)
    decode(run.scene, needed_views(run.scene, "all"))  # after all that can refuse: it takes minutes
    decode_pictures(run.experts)
    start = time.perf_counter()
    student = distil(run, name, _distillation(config), progress=not config.quiet)
    seconds = time.perf_counter() - start
    facts: dict[str, Any] = {
        "from": save_path.absolute(),
        "iteration": run.iteration,
        "expert": name,
        "files": before.provenance.files,
        **{
            key: getattr(config, key)
            for key in ("iterations", "weight", "novel_share", "rate", "max_gaussians", "seed")
        },
        "seconds": seconds,
        "psnr": _scores(run, before, student, frames=config.test_frames),
    }
    settings = with_values(trained_config(save_path, layout=run.scene.layout), overrides)
    written = write_distilled(run, student, out, config=settings, facts=facts)
    print(*_lines(run, before, written, facts["psnr"]), sep="\n")
    _check_growth_reached(written.num_gaussians, config)
    frames = len(evenly_spread(run.scene.num_frames, config.test_frames))
    print(f"PSNR: mean over {counted(len(run.scene.test), 'held-out camera')}, {counted(frames, 'frame')} of each")
    return 0


def _check_growth_reached(now: int, config: DistillConfig) -> None:
    """Warns where the expert has grown to clearly fewer Gaussians than it was to."""
    wanted = config.max_gaussians
    if wanted is not None and now < REACHED * wanted:
        more = f"give {GROWTHS} --iterations or more" if config.iterations < GROWTHS else "begin with a larger expert"
        logger.warning(
            "the distilled expert has %s, fewer than the %s of --max_gaussians: it grows by %.0f %% at a time; %s",
            *(counted(now, "Gaussian"), f"{wanted:,}", 100 * (GROWTH - 1), more),
        )


def _refuse_pictures(config: DistillConfig, experts: Sequence[str]) -> None:
    refuse_pictures([find_name(config.expert, experts)], "it cannot learn; give another --expert")
    if config.novel_share > 0:
        refuse_pictures(experts, "the mixture has no images to teach at novel cameras; give --novel_share 0")


def _distillation(config: DistillConfig) -> Distillation:
    return Distillation(
        iterations=config.iterations,
        weight=config.weight,
        novel_share=config.novel_share,
        rate=config.rate,
        max_gaussians=config.max_gaussians,
        seed=config.seed,
    )


def _scores(run: Run, before: Expert, after: Expert, *, frames: int) -> dict[str, float]:
    """Mean PSNR at the held-out cameras, dB."""
    compute, guard, clip = run.compute, run.novel.coverage_guard, range(run.scene.num_frames)
    near = 0.0 if run.novel.culling is None else run.novel.culling.near
    rules = [lone_rules(run.scene, one, compute, near=near, guard=guard, frames=clip) for one in (before, after)]
    images: dict[str, ImageAt] = {
        "before": lambda camera, frame: image_of(before, camera, frame, compute=compute, novel=rules[0]),
        "after": lambda camera, frame: image_of(after, camera, frame, compute=compute, novel=rules[1]),
        MIXTURE: mixtures_of(run),
    }
    chosen = evenly_spread(run.scene.num_frames, frames)
    return held_out_psnr(images, run.scene, frames=chosen, device=run.device)


def _lines(run: Run, before: Expert, after: Expert, scores: Mapping[str, float]) -> list[str]:
    """A table of the expert before and after, and of the mixture."""
    total = sum(expert.num_gaussians for expert in run.experts)
    sizes = [sum(file.stat().st_size for file in each.provenance.files) / MEGABYTE for each in (before, after)]
    rows: list[tuple[str, float, int, float]] = [
        (before.name, scores["before"], before.num_gaussians, sizes[0]),
        ("distilled", scores["after"], after.num_gaussians, sizes[1]),
        (MIXTURE, scores[MIXTURE], total, megabytes(run)["total"]),
    ]
    cells = [[name, f"{score:.2f}", f"{count:,}", f"{size:.1f}"] for name, score, count, size in rows]
    return table_lines(COLUMNS, cells)
