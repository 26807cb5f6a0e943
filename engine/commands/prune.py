"""Make a run smaller and faster: python moegs.py prune SAVE_PATH --out PRUNED."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from common.files import write_json
from common.tables import Column, table_lines
from common.wording import script_command
from engine.compression.pruned import (
    check_prunable,
    kept_masks,
    share_for_megabytes,
    share_for_speed,
    without,
)
from engine.compression.pruned_files import write_pruned
from engine.compression.scores import run_scores
from engine.evaluation.provenance import gaussian_counts, megabytes
from engine.runs.run import Run
from engine.runs.saved import load_run
from engine.settings.command_line import INTERRUPTED, set_up_logging
from engine.settings.fields import with_values
from engine.settings.prune import DEFAULT_RATIO, PruneConfig, check_prune_config, read_prune_settings
from engine.settings.verify import overrides_of
from engine.training.loop import train
from engine.training.router.opening import open_router_task, schedule
from router import render_command

logger = logging.getLogger(__name__)

FACTS = "pruned.json"
COLUMNS = (
    Column(heading="expert", gap=0, left=True),
    Column(heading="Gaussians", gap=2),
    Column(heading="kept", gap=2),
    Column(heading="MB", gap=2),
    Column(heading="now", gap=2),
)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes the pruned run and trains its router further; returns the exit code."""
    config = read_prune_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    save_path, out = check_prune_config(config)
    chosen = None if config.iteration == -1 else config.iteration
    run = load_run(save_path, iteration=chosen, overrides=overrides_of(config), needed="none")
    check_prunable(run.experts)
    before = _facts(run)
    pruned = _pruned(run, config)
    settings = write_pruned(pruned, save_path, out, overrides=overrides_of(config))
    if config.iterations:
        longer = {"resume": True, "iterations": run.iteration + config.iterations, "quiet": config.quiet}
        task = open_router_task(with_values(settings, longer), run.ensemble)
        if not train(task, schedule(task), quiet=config.quiet):
            return INTERRUPTED
        pruned = task.run
    after = _facts(pruned)
    facts = {"from": str(save_path.absolute()), "iteration": run.iteration, "score": config.score}
    write_json(out / FACTS, facts | {"scope": config.scope, "before": before, "after": after})
    print(*_lines(before, after), sep="\n")
    command = script_command(*render_command(run.ensemble).split(), "--save_path", out.absolute(), "--skip_train")
    print(f"to render and score it: {command}")
    return 0


def _pruned(run: Run, config: PruneConfig) -> Run:
    scores = run_scores(run, config.score, frames=config.score_frames, progress=not config.quiet)
    if config.megabytes is not None:
        share = share_for_megabytes(run, scores, config.megabytes, config.scope)
    elif config.fps is not None:
        share = share_for_speed(run, scores, config.fps, config.scope)
    else:
        share = DEFAULT_RATIO if config.ratio is None else config.ratio
    logger.info("pruning: %.1f %% of the Gaussians are removed, by %s", 100 * share, config.score)
    return without(run, kept_masks(run, scores, share, config.scope))


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
