"""Train, render and table every scene of a data set: python moegs.py run-all DATASET."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from common.text.wording import counted, shell
from engine.errors import ConfigError
from engine.pipeline.checks import check_plan
from engine.pipeline.jobs import Job
from engine.pipeline.plan import PlannedScene, find_scenes, is_rendered, plan_scene, table_job
from engine.pipeline.queue import JobQueue, Outcome
from engine.pipeline.slurm import TABLE, chosen_job, write_slurm
from engine.runs.device import gpu_here, gpu_names
from engine.settings.parsing.command_line import INTERRUPTED, set_up_logging
from engine.settings.run_all import RunAllConfig, read_run_all_settings, without_slurm

logger = logging.getLogger(__name__)

FAILED = 1  # exit code where a step failed


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Runs or prints the steps of every scene; the exit code: 0 done, 1 a step failed, 130 interrupted."""
    config = read_run_all_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=False, debug=config.debug)
    scenes = find_scenes(config)
    gpus = gpus_of(config)
    jobs = [job for scene in scenes for job in plan_scene(config, scene)]
    for scene in scenes:
        check_plan(config, scene, [job for job in jobs if job.scene == scene.name])
    if config.dry_run:
        print(*dry_lines(config, scenes, jobs), sep="\n")
        return 0
    if config.slurm is not None:
        return write_arrays(config.slurm, config, jobs, argv)
    if config.job == TABLE:
        return exit_code_of(write_only_table(config, scenes, jobs), cut_short=False)
    if config.job is not None:
        jobs = [chosen_job(jobs, config.job)]
    each = config.jobs_per_gpu
    place = f"GPU {', '.join(gpus)}, {counted(each, 'job')} on each" if gpus else "no GPU: one job at a time"
    logger.info("%s of %s; %s", counted(len(jobs), "job"), counted(len(scenes), "scene"), place)
    outcomes = JobQueue(gpus, each=each).run(jobs)
    cut_short = is_cut_short(outcomes)
    if config.job is not None:
        return exit_code_of(outcomes, cut_short=cut_short)
    if not cut_short:
        outcomes += write_table(config, scenes, jobs)
    return report_end(scenes, outcomes, cut_short=cut_short)


def write_only_table(config: RunAllConfig, scenes: Sequence[PlannedScene], jobs: Sequence[Job]) -> list[Outcome]:
    """Does as `write_table`; ConfigError where no scene is left."""
    outcomes = write_table(config, scenes, jobs)
    if not outcomes:
        raise ConfigError(f"--job {TABLE}: no scene of {config.dataset} is done; run the jobs of its steps first")
    return outcomes


def write_table(config: RunAllConfig, scenes: Sequence[PlannedScene], jobs: Sequence[Job]) -> list[Outcome]:
    """Makes and prints the table of the rendered scenes; the outcome, none without a scene.

    A scene with a step that failed, or that is older than one before it, is left out: its scores would be old ones.
    """
    behind = {job.scene: job for job in reversed(jobs) if not job.is_current()}
    rendered = [scene for scene in scenes if is_rendered(scene)]
    for job in (behind[scene.name] for scene in rendered if scene.name in behind):
        reason = "is older than a step before it" if job.is_done() else "is not done"
        logger.warning("%s: left out of the table: %s %s; see its log, %s", job.scene, job.step, reason, job.log)
    whole = [scene for scene in rendered if scene.name not in behind]
    if "table" in config.skip or not whole:
        return []
    job = table_job(config, whole)
    job.record.unlink(missing_ok=True)  # the scores may be new though the command is the same
    (outcome,) = JobQueue(()).run([job])
    if outcome.state == "done":
        print(job.results[0].read_text(encoding="utf-8"))
        print(f"written: {job.results[0]}")
    return [outcome]


def report_end(scenes: Sequence[PlannedScene], outcomes: Sequence[Outcome], *, cut_short: bool) -> int:
    """Prints how many scenes are done, and names the steps that failed with their logs; the exit code."""
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    unfinished = {outcome.job.scene for outcome in outcomes if outcome.state not in ("done", "skipped")}
    done = sum(scene.name not in unfinished for scene in scenes)
    print(f"{'interrupted: ' if cut_short else ''}{done} of {counted(len(scenes), 'scene')} done")
    for outcome in failed:
        print(f"failed: {outcome.job.scene}: {outcome.job.step}: {outcome.fault}; log: {outcome.job.log}")
    if failed or cut_short:
        print("to continue, run the same command again: finished steps are skipped")
    return exit_code_of(outcomes, cut_short=cut_short)


def exit_code_of(outcomes: Sequence[Outcome], *, cut_short: bool) -> int:
    """The exit code after some jobs."""
    failed = any(outcome.state == "failed" for outcome in outcomes)
    return INTERRUPTED if cut_short else FAILED if failed else 0


def write_arrays(folder: Path, config: RunAllConfig, jobs: Sequence[Job], argv: Sequence[str]) -> int:
    """Writes SLURM's scripts, and prints how to submit them."""
    with_table = "table" not in config.skip
    script = write_slurm(folder, jobs, without_slurm(argv), with_table=with_table)
    arrays = len(list(folder.glob("*.sbatch")))
    print(f"written: {counted(len(jobs) + with_table, 'job')} in {counted(arrays, 'array')}")
    print("to submit them; further flags go to sbatch:", shell("bash", script))
    return 0


def is_cut_short(outcomes: Sequence[Outcome]) -> bool:
    """True where an interrupt kept jobs from their end, and no failure in their scene."""
    failed = {outcome.job.scene for outcome in outcomes if outcome.state == "failed"}
    return any(
        outcome.state == "interrupted" or (outcome.state == "not run" and outcome.job.scene not in failed)
        for outcome in outcomes
    )


def dry_lines(config: RunAllConfig, scenes: Sequence[PlannedScene], jobs: Sequence[Job]) -> list[str]:
    """The commands of all steps in order, those that are done as comments."""
    lines = []
    for scene in scenes:
        own = [job for job in jobs if job.scene == scene.name]
        lines.append(f"# {scene.name}: {scene.root}")
        to_run: set[str] = set()  # a step after one that is to be run is to be run, too
        for job in own:
            if not job.is_current() or to_run & {*job.after}:
                to_run.add(job.step)
            lines.append(job.command if job.step in to_run else f"# done: {job.command}")
    return lines if "table" in config.skip else [*lines, table_job(config, scenes).command]


def gpus_of(config: RunAllConfig) -> tuple[str, ...]:
    """The GPUs that jobs run on; () where there are none.

    Raises ConfigError, for a plan that is only printed too, where this machine has not the GPUs that are asked for.
    """
    check_gpus(config.gpus or ())
    gpus, each = config.gpus or visible_gpus(), config.jobs_per_gpu
    if each > 1 and not gpus:
        raise ConfigError(f"--jobs_per_gpu {each}: this machine has no GPU, so one job runs at a time; leave it out")
    return gpus


def check_gpus(named: Sequence[str]) -> None:
    """Raises ConfigError for a GPU that this machine has not: CUDA would see none, and jobs would run on the CPU."""
    present = gpu_names() if named else ()
    for name in named:
        shortened = name.startswith(("GPU-", "MIG-")) and any(known.startswith(name) for known in present)
        if name not in present and not shortened:
            there = f"it has {', '.join(present)}" if present else "it has none; leave --gpus out"
            raise ConfigError(f"--gpus {name}: this machine has no such GPU: {there}")


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that jobs may use, as CUDA_VISIBLE_DEVICES names them; () where there are none."""
    if not gpu_here():
        return ()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return tuple(filter(None, named)) or tuple(map(str, range(torch.cuda.device_count())))
