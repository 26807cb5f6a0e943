"""One training of one expert, opened: its scene, start points, recipe and trainer, fresh or from its last state."""

from __future__ import annotations

import json
import logging
import math
import shutil
from dataclasses import dataclass, field
from typing import Any

import torch

from engine.errors import ConfigError
from engine.settings.expert_settings import WITH_PLANES
from engine.settings.recipe import difference, settings_of, with_settings
from engine.settings.train_expert import TrainExpertConfig, recipe_values
from engine.training.expert_choice import choose_preset
from engine.training.expert_saves import Target, load_state, saved_state
from engine.training.expert_views import TrainingFootage
from experts import CheckpointError, ExpertSpec, begin_training
from experts.training.colour_correction import ColourCorrection
from experts.training.presets import Planes, TrainingPreset
from experts.training.recipe import Recipe, scaled
from experts.training.start import StartPoints, TrainingStart
from experts.training.trainer import ExpertTrainer
from scenes import Scene
from scenes.points.cloud import PointCloud
from scenes.points.start import load_start_points
from scenes.points.visibility import suggest_near, views_of, visible_depths

logger = logging.getLogger(__name__)

FAR_EXTENTS = 75.0  # a measured far plane, in extents at least: N3V's 300 over its rigs' 4
FAR_DEPTHS = 10.0  # and in depths of the farthest start point that a camera shows
FILES = ("point_cloud", "training", "test", "cfg_args", "train_expert.json")  # what a training leaves in its folder


@dataclass(slots=True, kw_only=True)
class Session:
    """A training under way."""

    config: TrainExpertConfig
    target: Target
    preset: str
    recipe: Recipe
    start_note: str  # where the start points came from
    start_count: int
    planes: Planes | None
    footage: TrainingFootage
    trainer: ExpertTrainer
    correction: ColourCorrection | None
    start: int = 0  # iterations done before
    seconds: float = 0.0  # of training, evaluations and saves left out
    history: list[dict[str, Any]] = field(default_factory=list)  # scores on the way

    def state(self) -> dict[str, Any]:
        """What continuing exactly needs."""
        return {
            "facts": json.dumps(facts_of(self)),
            "trainer": self.trainer.state(),
            "correction": None if self.correction is None else self.correction.state(),
            "torch_random": torch.get_rng_state(),
            "seconds": self.seconds,
            "history": json.dumps(self.history),
        }


def recipe_for(config: TrainExpertConfig, spec: ExpertSpec, preset: TrainingPreset) -> Recipe:
    """The preset's recipe, of the asked length, with what the file and --set say, then the flags."""
    recipe, asked = preset.recipe, config.recipe
    if asked.iterations is not None:
        recipe = scaled(recipe, asked.iterations)
    recipe = with_settings(recipe, recipe_values(config), where="recipe")
    flags = {"batch": asked.batch, "dssim": asked.dssim, "density.max_gaussians": asked.max_gaussians}
    given = {name: value for name, value in flags.items() if value is not None}
    if asked.dssim is not None and math.isclose(recipe.l1 + recipe.dssim, 1):
        given["l1"] = 1 - asked.dssim
    if not spec.has_planes and (asked.near is not None or asked.far is not None):
        flag = "--near" if asked.near is not None else "--far"
        raise ConfigError(f"{flag} is not used by {spec.name}, whose planes are fixed; leave it out")
    return with_settings(recipe, given, where="the flags")


def open_session(config: TrainExpertConfig, spec: ExpertSpec, target: Target) -> Session:
    """A training at its beginning, or with --resume where it was; older files are removed with --overwrite.

    Raises SceneError, ConfigError or CheckpointError for what does not fit, before anything is removed.
    """
    scene, compute = target.scene, target.compute
    name, preset = choose_preset(spec, config.recipe.preset, scene=scene.name, layout=scene.layout)
    recipe = recipe_for(config, spec, preset)
    frames = range(scene.num_frames) if spec.training.start_frames == "all" else (0,)
    cloud = load_start_points(
        scene, source=config.data.points, frames=frames, limit=config.data.max_points, seed=config.recipe.seed
    )
    footage = TrainingFootage(scene, device=compute.device)
    start = _start(config, spec, preset, target, cloud=cloud, footage=footage)
    torch.manual_seed(config.recipe.seed)
    try:
        trainer = begin_training(spec, recipe, start)
    except ValueError as error:
        raise ConfigError(f"{spec.name} cannot be trained like this: {error}") from error
    check_start(cloud, scene, trainer)
    correction = ColourCorrection(len(footage.cameras)).to(compute.device) if config.recipe.colour_correction else None
    session = Session(
        config=config,
        target=target,
        preset=name,
        recipe=recipe,
        start_note=cloud.note,
        start_count=trainer.count,
        planes=start.planes,
        footage=footage,
        trainer=trainer,
        correction=correction,
    )
    _log(session)
    if config.output.resume:
        _resume(session)
    if config.output.overwrite:
        _remove(target)
    return session


def _start(
    config: TrainExpertConfig,
    spec: ExpertSpec,
    preset: TrainingPreset,
    target: Target,
    *,
    cloud: PointCloud,
    footage: TrainingFootage,
) -> TrainingStart:
    """All that a trainer begins from beside its recipe."""
    scene = target.scene
    world_scale = spec.world_scale(scene.layout, scene.rig_radius)
    points = StartPoints(positions=cloud.positions, colours=cloud.colours, frames=cloud.frames)
    return TrainingStart(
        points=points.to(target.compute.device),
        footage=footage,
        extent=scene.rig_radius,
        world_scale=world_scale,
        planes=choose_planes(config, preset, scene, cloud, unit=world_scale) if spec.has_planes else None,
        network=preset.network,
        seed=config.recipe.seed,
    )


def choose_planes(
    config: TrainExpertConfig, preset: TrainingPreset, scene: Scene, cloud: PointCloud, *, unit: float
) -> Planes:
    """Culling planes in data units: the flags', else the preset's (in units of `unit`), else by the start points."""
    cameras = [scene.views[index].camera for index in scene.train]
    if preset.planes is not None:
        planes = Planes(near=preset.planes.near * unit, far=preset.planes.far * unit)
    else:
        depths = visible_depths(cloud.positions, cameras)
        deepest = float(depths.max()) if len(depths) else 0.0
        near = suggest_near(cloud, cameras) or 0.01 * scene.rig_radius
        planes = Planes(near=near, far=max(FAR_EXTENTS * scene.rig_radius, FAR_DEPTHS * deepest))
    asked = config.recipe
    near = planes.near if asked.near is None else asked.near
    far = planes.far if asked.far is None else asked.far
    if not near < far:
        raise ConfigError(f"the near plane, {near:g}, is not nearer than the far one, {far:g}; give --near and --far")
    return Planes(near=near, far=far)


def check_start(cloud: PointCloud, scene: Scene, trainer: ExpertTrainer) -> None:
    """Raises ConfigError where no training camera shows a start point between the model's culling planes."""
    settings = trainer.model.settings
    far = math.inf if settings.far is None else settings.far
    cameras = [scene.views[index].camera for index in scene.train]
    if bool((views_of(cloud.positions, cameras, near=settings.near, far=far) > 0).any()):
        return
    depths = visible_depths(cloud.positions, cameras)
    raise ConfigError(
        f"{scene.root}: no training camera shows a start point between {trainer.name}'s near plane, {settings.near:g}, "
        f"and its far plane, {far:g}; those in the images lie at depths {float(depths.min()):.3g} to "
        f"{float(depths.max()):.3g} scene units: give --near and --far for {WITH_PLANES}, else rescale the scene"
    )


def _log(session: Session) -> None:
    recipe, planes = session.recipe, session.planes
    logger.info("start: %s", session.start_note)
    logger.info(
        "%s: preset %s, %d iterations of %d images, %d Gaussians at the start%s",
        session.target.name,
        session.preset,
        recipe.iterations,
        recipe.batch,
        session.start_count,
        "" if planes is None else f", near {planes.near:.3g}, far {planes.far:.3g}",
    )


def facts_of(session: Session) -> dict[str, Any]:
    """What a training must have in common with the one it continues, as plain JSON values."""
    scene, config = session.target.scene, session.config
    planes = session.planes
    facts = {
        "expert": session.target.name,
        "iterations": session.recipe.iterations,
        "seed": config.recipe.seed,
        "colour_correction": config.recipe.colour_correction,
        "near": None if planes is None else planes.near,
        "far": None if planes is None else planes.far,
        "first frame": scene.start,
        "frames": scene.num_frames,
        "training cameras": [scene.views[index].name for index in scene.train],
        "sizes": [[view.camera.width, view.camera.height] for view in scene.views],
        **settings_of(session.recipe),
    }
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain


def _resume(session: Session) -> None:
    newest = saved_state(session.target.folder)
    if newest is None:
        logger.info("%s holds nothing to resume: starting at the beginning", session.target.folder)
        return
    iteration, path = newest
    state = load_state(path)
    try:
        changed = difference(json.loads(state["facts"]), facts_of(session))
        if changed is not None:
            raise ConfigError(f"{path}: saved with other settings ({changed}); give the same, or --overwrite")
        session.trainer.load(state["trainer"])
        if session.correction is not None:
            session.correction.load(state["correction"])
        session.history = json.loads(state["history"])
        session.start, session.seconds = int(state["iteration"]), float(state["seconds"])
        torch.set_rng_state(state["torch_random"])
    except ConfigError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged ({error!r}); start again with --overwrite") from error
    logger.info("resumed at iteration %d from %s", iteration, path)


def _remove(target: Target) -> None:
    for name in FILES:
        path = target.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
