"""The start of an expert's training: its preset, recipe and points, and culling planes that show these points."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.errors import ConfigError
from engine.settings.training.experts import WITH_PLANES
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.expert.saves import ExpertOutput
from engine.training.expert.scene_views import SceneViews
from experts import ExpertSpec
from experts.training.recipes.presets import Planes, TrainingPreset
from experts.training.recipes.recipe import Recipe
from experts.training.start import StartPoints, TrainingStart
from experts.training.trainer import ExpertTrainer
from scenes import Scene
from scenes.points.cloud import PointCloud
from scenes.points.visibility import suggest_near, views_of, visible_depths

FAR_EXTENTS = 75.0  # a measured far plane, in extents at least: N3V's 300 over its rigs' 4
FAR_DEPTHS = 10.0  # and in depths of the farthest start point that a camera shows


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertStart:
    """The start of a training: preset, recipe, start points and culling planes."""

    preset: str
    recipe: Recipe  # as asked for; the trainer may hold another, made from it
    points: str  # where the start points came from
    gaussians: int
    planes: tuple[float, float] | None  # near and far, data units; None: fixed by the expert


def training_start(
    config: TrainExpertConfig,
    spec: ExpertSpec,
    preset: TrainingPreset,
    output: ExpertOutput,
    *,
    cloud: PointCloud,
    views: SceneViews,
) -> TrainingStart:
    """All that a trainer begins from beside its recipe."""
    scene = output.scene
    world_scale = spec.world_scale(scene.layout, scene.rig_radius)
    points = StartPoints(positions=cloud.positions, colours=cloud.colours, frames=cloud.frames)
    return TrainingStart(
        points=points.to(output.compute.device),
        views=views,
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
        known = Planes(near=preset.planes.near * unit, far=preset.planes.far * unit)
    else:
        depths = visible_depths(cloud.positions, cameras)
        deepest = float(depths.max()) if len(depths) else 0.0
        near = suggest_near(cloud, cameras) or 0.01 * scene.rig_radius
        known = Planes(near=near, far=max(FAR_EXTENTS * scene.rig_radius, FAR_DEPTHS * deepest))
    asked = config.recipe
    near = known.near if asked.near is None else asked.near
    far = known.far if asked.far is None else asked.far
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
