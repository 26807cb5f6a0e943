"""A run of one expert alone, whose mixture is that expert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.runs.opening import CheckScene, any_scene, new_run
from engine.runs.run import Run
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import ensemble_and_folders
from engine.settings.training.run import AnyRunConfig


def lone_expert_run(given: Mapping[str, Any], *, check: CheckScene = any_scene) -> Run:
    """The run of the one expert that settings name by `expert` ("STG=FOLDER"), on the scene of `source_path`.

    given: settings of a run by name; None stands for the default. check, and the errors: those of `new_run`.
    """
    settings = {name: value for name, value in given.items() if value is not None}
    ensemble, folders = ensemble_and_folders(settings["expert"])
    settings["save_path"] = next(iter(folders.values()))
    run = new_run(with_values(AnyRunConfig(), settings), ensemble, check=check)
    iteration = run.experts[0].provenance.iteration
    return replace(run, iteration=iteration, router=run.router.eval().requires_grad_(False))
