"""Facts by which a training is known again, when it is continued."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from engine.checks.experts import ROUTER_CAMERAS, TRAINING_CAMERAS
from engine.settings.training.recipe import settings_of
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.saves import ExpertOutput
from engine.training.stretches import stretches_of
from experts.training.recipes.recipe import Recipe


def facts_of(
    output: ExpertOutput, config: TrainExpertConfig, recipe: Recipe, planes: tuple[float | None, float | None] | None
) -> dict[str, Any]:
    """Facts of a training by which it is known again, as plain JSON values. planes: near and far, data units."""
    scene, asked = output.scene, config.recipe
    near, far = planes or (None, None)
    facts = {
        "expert": output.name,
        "iterations": recipe.iterations,
        "seed": asked.seed,
        "colour_correction": asked.colour_correction,
        "near": near,
        "far": far,
        "first frame": scene.start,
        "frames": scene.num_frames,
        TRAINING_CAMERAS: [scene.views[index].name for index in scene.train],
        **({ROUTER_CAMERAS: [scene.views[index].name for index in scene.router]} if scene.router else {}),
        "sizes": [[view.camera.width, view.camera.height] for view in scene.views],
        **({"stretches": asdict(stretches)} if (stretches := stretches_of(scene)) else {}),
        **settings_of(recipe),
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain
