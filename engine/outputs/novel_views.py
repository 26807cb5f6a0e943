"""Novel views of a run: the cameras and times to show, and their videos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from moegs_rasterizer import Camera

from common import ranks
from common.text.progress import tracked
from engine.errors import ConfigError
from engine.outputs.files import image_name, results_folder
from engine.outputs.render_writer import RenderWriter
from engine.runs.device import wait
from engine.runs.run import Run, alpha_and_depth, mix_camera
from engine.settings.rendering.novel_views import frame_range, trajectory_file
from engine.settings.rendering.render import RenderConfig, run_folder, variant_of
from engine.settings.rendering.render_maps import need_depths
from experts.base import CheckpointError
from experts.pictures import has_pictures
from scenes.camera_files import read_cameras
from scenes.novel_views import rig_up, shifted, with_focal_mm
from scenes.trajectories import TRAJECTORIES
from scenes.types import Scene, SceneError

logger = logging.getLogger(__name__)

LITTLE = 0.5  # mean opacity of an image below which it shows little of the scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An image to render."""

    name: str  # of its PNG, without the suffix
    camera: Camera
    frame: float


def render_novel_views(run: Run, config: RenderConfig) -> tuple[Path, ...]:
    """Renders the videos of the novel views that the settings choose; returns the files.

    No scores: no camera filmed these images. Several ranks render a block of them each. Warns where an image shows
    little of the scene.
    """
    folder = results_folder(run_folder(config), "test", run.iteration, variant=variant_of(config))
    shots, maps = novel_shots(run.scene, config), config.run.maps
    own = [shots[index] for index in ranks.block(len(shots))]
    names = [expert.name for expert in run.experts]
    opacities = []
    with RenderWriter(
        folder,
        names,
        fps=run.scene.frame_rate,
        videos=True,
        pngs=config.run.save_img,
        maps=maps,
        encoder=config.run.encoder,
    ) as writer:
        if need_depths(maps) and own and own[0] is not shots[0]:
            writer.images(mix_camera(run, shots[0].camera, shots[0].frame, depths=True))  # the range of all depths
        for shot in tracked(own, "Rendering novel views", unit="frame", shown=not config.quiet, leave=False):
            mixture = mix_camera(run, shot.camera, shot.frame, depths=True)
            wait(run.compute)
            opacities.append(float(alpha_and_depth(mixture)[0].mean()))
            shown = mixture if need_depths(maps) else replace(mixture, alphas=None, depths=None)
            writer.write(shot.name, writer.images(shown))
    opacities = [opacity for part in ranks.gathered(opacities) for opacity in part]
    least = int(np.argmin(opacities))
    if opacities[least] < LITTLE:
        logger.warning(
            "%s shows little of the scene (mean opacity %.2f): no camera recorded what it looks at; look at "
            "video_MoE.mp4, and move the camera less",
            shots[least].name,
            opacities[least],
        )
    return writer.files


def novel_shots(scene: Scene, config: RenderConfig) -> list[Shot]:
    """Lists the images of the novel views in order; ConfigError for frames outside of the clip and unusable files."""
    times = _times(scene, config)
    trajectory = config.viewpoint.trajectory
    if trajectory is None:
        whole = all(time == int(time) for time in times)
        shots = [
            Shot(name=image_name(scene.views[view].name, int(time) if whole else index), camera=camera, frame=time)
            for view in scene.test
            for camera in [scene.views[view].camera]
            for index, time in enumerate(times)
        ]
    elif (file := trajectory_file(config.viewpoint)) is not None:
        shots = _shots_of_file(file, times, scene, frozen=config.viewpoint.freeze_time is not None)
    else:
        first, end = frame_range(config.viewpoint, scene.num_frames)
        times = times * (end - first) if len(times) == 1 else times  # a frozen moment: as many images as frames
        cameras = TRAJECTORIES[trajectory](
            [scene.views[view] for view in scene.train], scene.views[scene.test[0]].camera, len(times)
        )
        shots = [
            Shot(name=image_name(trajectory, index), camera=camera, frame=time)
            for index, (camera, time) in enumerate(zip(cameras, times, strict=True))
        ]
    return [replace(shot, camera=_changed(shot.camera, scene, config)) for shot in shots]


def check_pictures(run: Run, config: RenderConfig) -> None:
    """Raises ConfigError for the first of the novel views that an expert with pictures has none of."""
    for expert in filter(has_pictures, run.experts):
        for shot in novel_shots(run.scene, config):
            try:
                expert.find(shot.camera, shot.frame)
            except CheckpointError as error:
                raise ConfigError(f"image {shot.name}: {error} (--without {expert.name})") from None


def _times(scene: Scene, config: RenderConfig) -> list[float]:
    """The frames to show one after the other, fractions between two of them."""
    first, end = frame_range(config.viewpoint, scene.num_frames)
    frozen, slower = config.viewpoint.freeze_time, config.viewpoint.slow_motion or 1
    if frozen is not None:
        _check_frame(frozen, "--freeze_time", scene)
        return [frozen]
    count = int((end - 1 - first) * slower + 1e-6) + 1
    return [min(first + index / slower, end - 1) for index in range(count)]


def _shots_of_file(file: Path, times: Sequence[float], scene: Scene, *, frozen: bool) -> list[Shot]:
    """A file's cameras; those without a frame show the clip's times in turn, from the start again at its end."""
    try:
        cameras = read_cameras(file)
    except SceneError as error:
        raise ConfigError(f"--trajectory {error}") from None
    shots = []
    for index, each in enumerate(cameras):
        time = times[index % len(times)] if each.frame is None or frozen else each.frame
        _check_frame(time, f"--trajectory {file}: [{index}]: frame", scene)
        shots.append(Shot(name=image_name(file.stem, index), camera=each.camera, frame=time))
    return shots


def _check_frame(frame: float, where: str, scene: Scene) -> None:
    if not 0 <= frame <= scene.num_frames - 1:
        raise ConfigError(f"{where} is {frame:g}: outside of the clip; give 0 to {scene.num_frames - 1}")


def _changed(camera: Camera, scene: Scene, config: RenderConfig) -> Camera:
    """A camera after --y_offset and --focal_mm."""
    novel = config.viewpoint
    if novel.y_offset is not None:
        camera = shifted(camera, novel.y_offset * rig_up(scene.views))
    if novel.focal_mm is not None:
        camera = with_focal_mm(camera, novel.focal_mm)
    return camera
