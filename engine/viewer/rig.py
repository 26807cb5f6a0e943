"""Things drawn over the pictures of a browser: the scene's cameras, and the start points of trainings."""

from __future__ import annotations

import logging

import numpy as np
import viser

from engine.runs.run import Run
from engine.viewer.cameras import pose_at
from scenes.points.cloud import thinned
from scenes.points.start import stored_start_points
from scenes.types import SceneError

logger = logging.getLogger(__name__)

FRUSTUM = 0.08  # of the rig's radius
POINT = 0.004  # of the rig's radius
MOST_POINTS = 20_000  # that a browser is sent
TRAINING_COLOUR, HELD_OUT_COLOUR = (0, 114, 178), (230, 159, 0)


class Rig:
    """The cameras and the start points in one browser; each is sent when it is first shown."""

    def __init__(self, handle: viser.ClientHandle) -> None:
        self._scene = handle.scene
        self._cameras: list[viser.CameraFrustumHandle] | None = None
        self._points: list[viser.PointCloudHandle] | None = None

    def show(self, run: Run, *, cameras: bool, points: bool, at: int | None) -> None:
        """Shows or hides the cameras and the start points. at: the camera that one stands in, whose frame is hidden."""
        if cameras and self._cameras is None:
            self._cameras = self._drawn_cameras(run)
        if points and self._points is None:
            self._points = self._drawn_points(run)
        for handles, wanted in ((self._cameras, cameras), (self._points, points)):
            for index, handle in enumerate(handles or ()):
                shown = wanted and not (handles is self._cameras and index == at)
                if handle.visible != shown:
                    handle.visible = shown

    def _drawn_cameras(self, run: Run) -> list[viser.CameraFrustumHandle]:
        """The frustum of each camera of the scene."""
        drawn = []
        for index, view in enumerate(run.scene.views):
            pose = pose_at(view.camera, view.camera.width / view.camera.height)
            frustum = self._scene.add_camera_frustum(
                f"/cameras/{view.name}",
                fov=pose.fov,
                aspect=pose.aspect,
                scale=FRUSTUM * run.scene.rig_radius,
                thickness=FRUSTUM * run.scene.rig_radius / 20,
                color=HELD_OUT_COLOUR if index in run.scene.test else TRAINING_COLOUR,
                wxyz=pose.wxyz,
                position=pose.position,
            )
            drawn.append(frustum)
        return drawn

    def _drawn_points(self, run: Run) -> list[viser.PointCloudHandle]:
        """The scene's start points of frame 0, thinned; none where they cannot be read, and a warning."""
        try:
            cloud = stored_start_points(run.scene, source=None, frame=0)
            cloud = None if cloud is None else thinned(cloud, MOST_POINTS)
        except SceneError as error:
            logger.warning("start points: %s", error)
            return []
        if cloud is None or cloud.count == 0:
            return []
        points = self._scene.add_point_cloud(
            "/start_points",
            points=cloud.positions.numpy(),
            colors=(cloud.colours.numpy() * 255).round().astype(np.uint8),
            point_size=POINT * run.scene.rig_radius,
        )
        return [points]
