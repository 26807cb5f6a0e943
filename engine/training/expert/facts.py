"""Facts of an expert's training: those by which it is known again when it is continued, and those of its cfg_args."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.disk.files import file_hash
from engine.checks.experts import ROUTER_CAMERAS, TRAINING_CAMERAS
from engine.runs.saved.scene_record import scene_marks
from engine.settings.training.recipe import difference, settings_of, unsaved_recipe
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.saves import ExpertOutput
from engine.training.expert.start import ExpertStart
from engine.training.stretches import stretches_of
from experts.formats.cfg_args import read_cfg_args
from experts.formats.settings import CLIP_FRAMES, FIRST_FRAME, FRAME_RATE, PRESET
from experts.training.recipes.recipe import Recipe
from scenes.layouts import LAYOUTS

logger = logging.getLogger(__name__)

START_POINTS = "start points"
ADDED = ("cameras", "footage", START_POINTS, "max_points", "resize_filter")  # that trainings of before do not tell
OF_SCENE = {
    "cameras": "; these are other poses, lenses or --principal_points",
    "footage": "; these are other videos or images",
    "stretches": "; they follow from --cache_gb",
}


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
        **scene_marks(scene),
        START_POINTS: _points_mark(config.data.points),
        "max_points": config.data.max_points,
        "resize_filter": config.data.resize_filter,
        **settings_of(recipe),
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def changed_fact(old: Mapping[str, Any], new: Mapping[str, Any], recipe: Recipe) -> str | None:
    """The first fact that differs, as "name: old, now new", with what it follows from; None where all agree.

    old: of a training that may have been saved before there were all of today's facts and settings.
    """
    unsaved = unsaved_recipe(recipe) | {name: new[name] for name in ADDED}
    changed = difference(old, new, unsaved=unsaved)
    return None if changed is None else changed + OF_SCENE.get(changed.split(":")[0], "")


def warn_of_unknown_footage(old: Mapping[str, Any], output: ExpertOutput) -> None:
    """Warns where a training is of a version that did not tell its footage, and the scene lies elsewhere by now."""
    source, now = (read_cfg_args(output.folder) or {}).get("source_path"), str(output.scene.root.absolute())
    if "footage" not in old and source is not None and source != now:
        logger.warning(
            "%s: trained on %s by a version that did not note its footage; make sure that %s is the same scene",
            output.folder,
            source,
            now,
        )


def _points_mark(points: Path | str | None) -> str | None:
    """The asked start points, by their content where they are a file, wherever it lies."""
    if points is None:
        return None
    return file_hash(Path(points))[:16] if Path(points).is_file() else str(points)


def cfg_facts(output: ExpertOutput, config: TrainExpertConfig, begun: ExpertStart) -> dict[str, object]:
    """Facts for cfg_args beside those that the expert's format needs."""
    scene = output.scene
    return {
        "source_path": str(scene.root.absolute()),
        "model_path": str(output.folder.absolute()),
        "resolution": config.data.resolution,
        "loader": LAYOUTS[scene.layout].loader,
        FIRST_FRAME: scene.start,
        CLIP_FRAMES: scene.num_frames,
        **({} if scene.frame_rate is None else {FRAME_RATE: float(scene.frame_rate)}),
        "iterations": begun.recipe.iterations,
        PRESET: begun.preset,
    }
