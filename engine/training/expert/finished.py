"""A training that is to be resumed and has nothing left to do, known by its files alone."""

from __future__ import annotations

from engine.checks.experts import EXPERT_REPORT
from engine.settings.parsing.config_file import read_object
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.choice import choose_preset
from engine.training.expert.facts import changed_fact, facts_of, warn_of_unknown_footage
from engine.training.expert.recipe import recipe_for
from engine.training.expert.saves import ExpertOutput, saved_expert_folder, saved_state
from experts import ExpertSpec


def is_finished(config: TrainExpertConfig, spec: ExpertSpec, output: ExpertOutput) -> bool:
    """True where --resume finds the last state, the expert and the report of a training with the same settings.

    Start points are not made for that, as they may take minutes. Where something differs, opening the training tells.
    """
    report, newest = output.folder / EXPERT_REPORT, saved_state(output.folder)
    if not config.output.resume or newest is None or not report.is_file():
        return False
    scene, asked = output.scene, config.recipe
    recipe = recipe_for(config, spec, choose_preset(spec, asked.preset, scene=scene.name, layout=scene.layout)[1])
    last = recipe.iterations
    if newest[0] != last or not saved_expert_folder(output.folder, last).is_dir():
        return False
    told = read_object(report).get("settings") or {}
    near = told.get("near") if asked.near is None else asked.near  # else measured on the start points
    far = told.get("far") if asked.far is None else asked.far
    facts = facts_of(output, config, recipe, (near, far))
    if changed_fact(told, facts, recipe) is not None:
        return False
    warn_of_unknown_footage(told, output)
    return True
