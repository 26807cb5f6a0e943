"""Make a run smaller and faster: python moegs.py prune SAVE_PATH --out PRUNED."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.disk.files import write_json
from common.text.tables import Column, table_lines
from common.text.wording import script_command
from engine.compression.packing import write_compressed
from engine.compression.pruned import (
    check_prunable,
    fixed_megabytes,
    measured_speed,
    share_for_megabytes,
    share_for_speed,
)
from engine.compression.pruned_files import write_run
from engine.compression.ranked_frames import tell_more_frames
from engine.compression.rounds import Goal, Pruning, prune_in_rounds, ratio_goal
from engine.compression.tuning import Tuning
from engine.evaluation.provenance import gaussian_counts, megabytes
from engine.runs.alone import sweep_leftovers_of
from engine.runs.experts.pictures import refuse_pictures
from engine.runs.run import Run
from engine.runs.saved.checkpoint import saved_experts
from engine.runs.saved.loading import load_run, trained_config
from engine.runs.saved.parts import results_in
from engine.settings.parsing.command_line import INTERRUPTED, set_up_logging
from engine.settings.parsing.fields import with_values
from engine.settings.parsing.paths import check_apart
from engine.settings.prune import DEFAULT_RATIO, PruneConfig, check_prune_config, read_prune_settings
from engine.settings.results.verify import overrides_of
from engine.settings.training.experts import BY_NAME
from router import render_command
from scenes.options import Needed

logger = logging.getLogger(__name__)

FACTS = "pruned.json"
COLUMNS = (
    Column(heading="expert", gap=0, left=True),
    Column(heading="Gaussians", gap=2),
    Column(heading="kept", gap=2),
    Column(heading="MB", gap=2),
    Column(heading="MB now", gap=2),
)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prunes and trains a copy of the run, and writes it; returns the exit code."""
    config = read_prune_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    save_path, out = check_prune_config(config)
    check_apart("--out", out, results_in(save_path))
    sweep_leftovers_of(out)
    chosen, overrides = None if config.iteration == -1 else config.iteration, overrides_of(config)
    reason = "there is nothing to remove; prune a run without it"
    refuse_pictures(saved_experts(save_path, chosen), reason)
    needed: Needed = "all" if config.iterations else "test" if config.compress else "none"
    run = load_run(save_path, iteration=chosen, overrides=overrides, needed=needed, flag=BY_NAME)
    check_prunable(run.experts)
    tell_more_frames(run, config.score_frames)
    before = _facts(run)
    trained = with_values(trained_config(save_path, layout=run.scene.layout), overrides)
    pruned = prune_in_rounds(run, _goal(run, config), _pruning(config), trained, quiet=config.quiet)
    if pruned is None:
        logger.warning("interrupted: nothing is written")
        return INTERRUPTED
    facts = {
        "from": str(save_path.absolute()),
        "iteration": run.iteration,
        **{key: getattr(config, key) for key in ("score", "scope", "rounds", "tune", "iterations", "rate")},
    }
    write = partial(write_compressed, ranked=config.score_frames) if config.compress else write_run
    after: dict[str, Any] = {}

    def leave(written: Run, folder: Path) -> None:
        after.update(_facts(written))
        write_json(folder / FACTS, facts | {"before": before, "after": after})

    write(pruned, save_path, out, iteration=run.iteration, overrides=overrides, change={"pruned": facts}, leave=leave)
    print(*_lines(before, after), sep="\n")
    if config.fps is not None:
        speeds = [f"{measured_speed(each):.1f}" for each in (run, pruned)]
        print(f"frames a second on this machine: {speeds[0]} before, {speeds[1]} now")
    command = script_command(*render_command(run.ensemble).split(), "--save_path", out.absolute(), "--skip_train")
    print(f"to render and score it: {command}")
    return 0


def _pruning(config: PruneConfig) -> Pruning:
    tuning = Tuning(what=config.tune, iterations=config.iterations, rate=config.rate)
    return Pruning(
        score=config.score,
        scope=config.scope,
        score_frames=config.score_frames,
        rounds=config.rounds,
        tuning=tuning,
    )


def _goal(run: Run, config: PruneConfig) -> Goal:
    wanted, speed = config.megabytes, config.fps
    if wanted is not None:
        fixed = fixed_megabytes(run)
        return lambda now, scores: share_for_megabytes(now, scores, wanted, config.scope, fixed=fixed)
    if speed is not None:
        return lambda now, scores: share_for_speed(now, scores, speed, config.scope)
    return ratio_goal(run, DEFAULT_RATIO if config.ratio is None else config.ratio)


def _facts(run: Run) -> dict[str, Any]:
    return {"gaussians": gaussian_counts(run), "megabytes": megabytes(run)}


def _lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A table of Gaussians and megabytes, by expert and of all."""
    names = [*before["gaussians"]["experts"], "total"]
    counts = [{**each["gaussians"]["experts"], "total": each["gaussians"]["total"]} for each in (before, after)]
    sizes = [{**each["megabytes"]["experts"], "total": each["megabytes"]["total"]} for each in (before, after)]
    rows = [
        [name, *(f"{count[name]:,}" for count in counts), *(f"{size[name]:.1f}" for size in sizes)] for name in names
    ]
    return table_lines(COLUMNS, rows)
