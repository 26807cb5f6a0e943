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
from engine.compression.pruned import check_prunable, measured_speed, share_for_speed
from engine.compression.pruned_files import write_run
from engine.compression.ranked_frames import tell_more_frames
from engine.compression.rounds import Goal, Pruning, prune_in_rounds, ratio_goal
from engine.compression.sizes import MISSED, share_for_megabytes, written_sizes
from engine.compression.trainers import check_trainable
from engine.compression.tuning import Tuning
from engine.evaluation.provenance import gaussian_counts, megabytes
from engine.runs.alone import alone_at
from engine.runs.experts.pictures import refuse_pictures
from engine.runs.run import Run
from engine.runs.saved.checkpoint import saved_experts
from engine.runs.saved.loading import load_run, trained_config
from engine.runs.saved.parts import check_apart_from_scene, parts_of_run
from engine.runs.scene import decode
from engine.settings.parsing.command_line import INTERRUPTED, set_up_logging
from engine.settings.parsing.fields import with_values
from engine.settings.parsing.paths import check_apart
from engine.settings.prune import PruneConfig, check_prune_config, read_prune_settings, with_goal
from engine.settings.results.verify import overrides_of
from engine.settings.training.experts import BY_NAME, folders_by_name
from router import render_command
from scenes import needed_views
from scenes.options import Needed

logger = logging.getLogger(__name__)

FACTS = "pruned.json"
SETTINGS = ("ratio", "megabytes", "fps", "score", "scope", "score_frames", "rounds", "tune", "iterations", "rate")
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
    chosen = None if config.iteration == -1 else config.iteration
    names = saved_experts(save_path, chosen)
    moved = folders_by_name(config.overrides.expert, names)
    check_apart("--out", out, parts_of_run(save_path, chosen, moved), folder=True)
    refuse_pictures(names, "there is nothing to remove; prune a run without it")
    out = out.resolve()  # a link stays, and its folder is filled
    with alone_at(out, "--out"):
        return _prune(with_goal(config), save_path, out)


def _prune(config: PruneConfig, save_path: Path, out: Path) -> int:
    """Prunes a run that can be, into a folder that no other command writes."""
    overrides = overrides_of(config)
    run = _open_run(config, save_path, out, overrides)
    tell_more_frames(run, config.score_frames)
    before = _facts(run)
    trained = with_values(trained_config(save_path, layout=run.scene.layout), overrides)
    pruned = prune_in_rounds(run, _goal(run, config, out), _pruning(config), trained, quiet=config.quiet)
    if pruned is None:
        logger.warning("interrupted: nothing is written")
        return INTERRUPTED
    speeds = [] if config.fps is None else [measured_speed(each) for each in (run, pruned)]
    facts = {
        "from": str(save_path.absolute()),
        "iteration": run.iteration,
        **{key: getattr(config, key) for key in SETTINGS},
    }
    write = partial(write_compressed, ranked=config.score_frames) if config.compress else write_run
    after: dict[str, Any] = {}

    def leave(written: Run, folder: Path) -> None:
        after.update(_facts(written))
        write_json(folder / FACTS, facts | {"before": before, "after": after})

    write(pruned, save_path, out, iteration=run.iteration, overrides=overrides, change={"pruned": facts}, leave=leave)
    print(*_lines(before, after), sep="\n")
    _check_size(after["megabytes"]["total"], config)
    if config.fps is not None:
        print("frames a second on this machine: {:.1f} before, {:.1f} now".format(*speeds))
        _check_speed(speeds[1], config.fps)
    command = script_command(*render_command(run.ensemble).split(), "--save_path", out.absolute(), "--skip_train")
    print(f"to render and score it: {command}")
    return 0


def _open_run(config: PruneConfig, save_path: Path, out: Path, overrides: Mapping[str, Any]) -> Run:
    """The run to prune with the frames that this needs; ConfigError where it cannot be pruned into a folder."""
    chosen = None if config.iteration == -1 else config.iteration
    check = partial(check_apart_from_scene, "--out", out, save_path=save_path)
    run = load_run(save_path, iteration=chosen, overrides=overrides, needed="none", check=check, flag=BY_NAME)
    _check_experts(run, config)
    needed: Needed = "all" if config.iterations else "test" if config.compress else "none"
    decode(run.scene, needed_views(run.scene, needed))  # after all that can refuse: it takes minutes
    return run


def _check_experts(run: Run, config: PruneConfig) -> None:
    """Raises ConfigError where an expert cannot be pruned, or not be trained further as asked for."""
    check_prunable(run.experts)
    if config.tune == "all" and config.iterations:
        for expert in run.experts:
            check_trainable(expert, run.scene.num_frames)


def _pruning(config: PruneConfig) -> Pruning:
    tuning = Tuning(what=config.tune, iterations=config.iterations, rate=config.rate)
    return Pruning(
        score=config.score,
        scope=config.scope,
        score_frames=config.score_frames,
        rounds=config.rounds,
        tuning=tuning,
    )


def _goal(run: Run, config: PruneConfig, out: Path) -> Goal:
    wanted, speed = config.megabytes, config.fps
    if wanted is not None:
        sizes = written_sizes(run, out)
        return lambda now, scores: share_for_megabytes(now, scores, wanted, config.scope, sizes=sizes)
    if speed is not None:
        return lambda now, scores: share_for_speed(now, scores, speed, config.scope)
    assert config.ratio is not None, "the default"
    return ratio_goal(run, config.ratio)


def _check_size(now: float, config: PruneConfig) -> None:
    """Warns where the files that were written miss their goal."""
    wanted = config.megabytes
    if wanted is not None and now > MISSED * wanted:
        logger.warning(
            "the new run has %.1f MB, more than the %g MB of --megabytes; prune again with a smaller number",
            *(now, wanted),
        )


def _check_speed(now: float, wanted: float) -> None:
    """Warns where the new run is slower than its goal: the search measured a few frames only."""
    if now < wanted:
        logger.warning(
            "the new run has %.1f frames a second, less than the %g of --fps; prune again with a larger number, or "
            "with a larger --ratio",
            *(now, wanted),
        )


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
