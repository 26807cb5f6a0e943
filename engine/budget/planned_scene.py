"""A plan as jobs of the pipeline: the same commands as those of `run-all`, with the lengths and limits of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.text.units import MEGABYTE
from common.text.wording import counted
from engine.budget.plan import Plan, Step
from engine.budget.trials.experts import SCORED_FRAMES
from engine.errors import ConfigError
from engine.pipeline.jobs import Job
from engine.pipeline.plan import PlannedScene, find_scenes, plan_scene
from engine.settings.auto import AutoConfig, run_all_settings
from engine.settings.training.train_expert import AUTO
from experts import EXPERTS
from experts.training.recipes.presets import FAST
from router import ensemble_of

FEWEST_OF_PUBLISHED = 2  # half of the published length: from there on a training has the published preset


def scene_of(config: AutoConfig, experts: Sequence[str]) -> PlannedScene:
    """The scene with these experts; ConfigError where the folder is not that of one scene."""
    scenes = find_scenes(run_all_settings(config, mixes=len(experts) > 1))
    if len(scenes) != 1:
        raise ConfigError(f"{config.scene}: holds {counted(len(scenes), 'scene')}; give the folder of one of them")
    return replace(scenes[0], ensemble=ensemble_of(experts))


def jobs_of(config: AutoConfig, plan: Plan) -> dict[str, Job]:
    """The job of each of a plan's steps that is one, by the step's name; each waits for none, as one runs at a time."""
    scene = replace(
        scene_of(config, plan.experts), own=_own_words(plan), prunes=any(step.step == "prune" for step in plan.steps)
    )
    jobs = plan_scene(run_all_settings(config, mixes=len(plan.experts) > 1), scene)
    alone = [replace(job, after=()) for job in jobs]
    return {job.step if job.step.startswith("expert_") else job.step.split("_")[0]: job for job in alone}


def _own_words(plan: Plan) -> dict[str, tuple[object, ...]]:
    own = {step.step: _expert_words(step, in_tf32=plan.in_tf32) for step in plan.steps if step.expert}
    lengths = {step.step: ("--iterations", step.iterations) for step in plan.steps if not step.expert}
    own["train"] = (*lengths.get("train", ()), "--test_iterations")
    if plan.run_bytes is not None:
        own["prune"] = ("--megabytes", plan.run_bytes / MEGABYTE, *lengths.get("prune", ()))
    return own | {"render": ("--constant_frames", 0)}


def _expert_words(step: Step, *, in_tf32: bool) -> tuple[object, ...]:
    training = EXPERTS[step.expert].training
    preset = AUTO if FEWEST_OF_PUBLISHED * step.iterations >= step.longest else FAST
    has_networks = any(hasattr(row.recipe, "networks") for row in training.presets.values())
    first = training.start_frames == "first"  # others limit their start themselves
    return (
        *("--preset", preset, "--iterations", step.iterations, "--max_gaussians", step.gaussians),
        *(("--set", "networks=tf32") if in_tf32 and has_networks else ()),  # as FAST, which was timed
        *(("--max_points", step.gaussians) if first else ()),
        *("--test_iterations", "--test_frames", SCORED_FRAMES),
    )
