"""Prepare, train and render a scene within a budget: python moegs.py auto SCENE --budget 20min,8GB,60MB."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import torch

from common.text.wording import script_command
from engine.budget.keeping import PlanKeeper
from engine.budget.making import make_plan
from engine.budget.plan import PLAN_FILE, Plan, Step, kept_line, plan_lines, read_plan, write_plan
from engine.budget.planned_scene import jobs_of, scene_of
from engine.budget.taken import taken_lines
from engine.budget.wanted import read_budget
from engine.commands.run_all import FAILED, visible_gpus
from engine.errors import ConfigError
from engine.pipeline.jobs import Job
from engine.pipeline.plan import expert_folder
from engine.pipeline.queue import JobQueue
from engine.settings.auto import AutoConfig, read_auto_settings
from engine.settings.parsing.command_line import INTERRUPTED, set_up_logging

logger = logging.getLogger(__name__)


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Plans a run and does it; the exit code: 0 done, 1 a step failed, 130 interrupted."""
    config = read_auto_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=False, debug=config.debug)
    read_budget(config.budget)
    gpus = visible_gpus()
    folder = scene_of(config, ("FreeTime",)).folder
    plan = read_plan(folder)
    if plan is None:
        plan = make_plan(config, partial(_prepare, gpus))
        _free_memory()
    else:
        _check_same(config, plan)
    print(*plan_lines(plan), sep="\n", flush=True)  # before the lines of the steps, in a file too
    if config.plan:
        logger.info("to run it, give the same command without --plan")
        return 0
    write_plan(plan, folder)
    keeper = PlanKeeper(plan, folder, partial(jobs_of, config), gpus)
    cut = keeper.run()
    if cut is not None:
        if cut.fault:
            print(f"failed: {cut.job.step}: {cut.fault}; log: {cut.job.log}")
        print("to continue, run the same command again: finished steps are skipped")
        return FAILED if cut.state == "failed" else INTERRUPTED
    plan = keeper.plan
    print("", *plan_lines(plan, ended=True), "", f"time: {kept_line(plan)}", sep="\n")
    scene = replace(scene_of(config, plan.experts), prunes=plan.run_bytes is not None)
    shown = scene.shown_path if len(plan.experts) > 1 else expert_folder(scene, plan.experts[0])
    print(*taken_lines(plan, scene), sep="\n")
    print("to see it as a page:", script_command("moegs.py", "report", shown))
    return 0


def _prepare(gpus: Sequence[str], job: Job) -> Step:
    """Prepares the scene, and tells how long that took; ConfigError where it fails."""
    start = perf_counter()
    (outcome,) = JobQueue(gpus[:1]).run([job])
    if outcome.state == "interrupted":
        raise KeyboardInterrupt
    if outcome.state != "done":
        raise ConfigError(f"the preparation failed: {outcome.fault}; log: {job.log}")
    took = perf_counter() - start
    return Step(step="prepare", fixed=took, told=took, taken=took, is_done=True)


def _check_same(config: AutoConfig, plan: Plan) -> None:
    """Raises ConfigError where the folder's plan is another one than that which is asked for."""
    same = {
        "budget": read_budget(plan.budget) == read_budget(config.budget),
        "data_args": plan.data_args == config.data_args,
    }
    for name, is_same in same.items():
        if not is_same:
            raise ConfigError(
                f"{config.output}: holds a plan for --{name} {getattr(plan, name) or 'not given'} ({PLAN_FILE}): give "
                "the same to continue it, or choose another --output"
            )


def _free_memory() -> None:
    """Gives back what the trials took, for the commands that follow."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
