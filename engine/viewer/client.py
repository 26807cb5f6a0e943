"""One browser: its camera and time, the picture it should have next, and the files it asks for."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty

import viser
from moegs_rasterizer import Camera
from PIL import Image

from engine.runs.run import Run
from engine.viewer.cameras import (
    Pose,
    camera_of,
    letterboxed,
    path_json,
    path_through,
    pose_at,
    pose_of,
    same_place,
    size_of,
)
from engine.viewer.images import Picture, picture_of
from engine.viewer.panel import Panel
from engine.viewer.state import ViewState, next_scale, played_frame
from scenes.novel_views import rig_up
from scenes.trajectories import looked_at

REST = 0.25  # seconds without a change of the camera, after which it rests
SETTLING = 0.7  # seconds in which a browser takes over a camera that it was given
MOVING_QUALITY, RESTING_QUALITY = 75, 92  # of JPEG
USUAL_RATE = 30.0  # frames per second, where the recording does not say
MOST_KEYS = 1000
FRUSTUM = 0.08  # of the rig's radius


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A picture to make for a client."""

    state: ViewState
    pose: Pose
    view: int | None  # the scene's camera that the pose is; None: none
    width: int  # px, of the longer side
    scale: float  # of the full width


class Client:
    """A connected browser. `wish`, `show` and `serve_clicks` are called by one thread alone."""

    def __init__(
        self, handle: viser.ClientHandle, run: Run, wake: Callable[[], None], *, width: int, budget: float
    ) -> None:
        self._handle, self._budget, self._width = handle, budget, width
        self.panel = Panel(handle.gui, run, wake)
        self._middle = looked_at([run.scene.views[view] for view in run.scene.train])
        self._rate = float(run.scene.frame_rate or USUAL_RATE)
        self._pose: Pose | None = None
        self._moved = -math.inf  # when the camera did last
        self._view: int | None = None
        self._given: Pose | None = None  # where the browser stands for it
        self._settled = -math.inf  # when a browser has taken over a camera
        self._fov = self.panel.fov
        self._began: tuple[float, float, float] | None = None  # of playing: when, at which frame, at what rate
        self._slider = 0
        self._frame = 0.0
        self._scale = 0.5
        self._last: Wish | None = None
        self._keys: list[tuple[Pose, float]] = []
        self._rig: list[viser.CameraFrustumHandle] = []
        handle.camera.on_update(lambda _: wake())
        self.panel.at = run.scene.test[0]

    def wish(self, run: Run, now: float) -> Wish | None:
        """The picture that the client should have and has not. now: seconds of a steady clock."""
        self._follow_rig(run)
        pose = self._followed_pose(run, now)
        if pose is None:
            return None
        playing = self._follow_time(run, now)
        resting = not playing and now - self._moved >= REST
        scale = 1.0 if resting else self._scale
        if self._view is None:
            width = min(self._width, self._window())
        else:
            width = run.scene.views[self._view].camera.width
        state = self.panel.state(self._frame)
        wish = Wish(state=state, pose=pose, view=self._view, width=max(16, round(width * scale)), scale=scale)
        if self._last is not None:
            same = replace(self._last, width=wish.width, scale=wish.scale) == wish
            if same and (self._last.width == wish.width or self._last.scale >= scale):
                return None
        return wish

    def show(self, run: Run, wish: Wish) -> Picture:
        """Makes a picture, sends it, and takes its time as the measure of the next."""
        if wish.view is None:
            camera = camera_of(wish.pose, *size_of(wish.pose.aspect, wish.width))
        else:
            camera = run.scene.views[wish.view].camera
        picture = picture_of(run, wish.state, camera, view=wish.view, width=min(wish.width, camera.width))
        image = picture.image if wish.view is None else letterboxed(picture.image, wish.pose.aspect)
        quality = RESTING_QUALITY if wish.scale == 1 else MOVING_QUALITY
        self._handle.scene.set_background_image(image, format="jpeg", jpeg_quality=quality)
        self._scale = next_scale(wish.scale, picture.seconds, budget=self._budget)
        self._last = wish
        return picture

    def serve_clicks(self, run: Run) -> None:
        """Does what buttons were clicked for."""
        while True:
            try:
                click = self.panel.clicks.get_nowait()
            except Empty:
                return
            if self._pose is not None:
                CLICKS[click](self, run, self._pose)

    def next_frame(self, run: Run, ahead: int) -> tuple[float, int | None] | None:
        """A frame that is shown soon, and at which of the scene's cameras; None where time does not run."""
        if self._began is None or self._began[2] < 1:
            return None
        return (int(self._frame) + ahead) % run.scene.num_frames, self._view

    def _window(self) -> int:
        camera = self._handle.camera
        return max(camera.image_width, camera.image_height)

    def _followed_pose(self, run: Run, now: float) -> Pose | None:
        """The browser's pose, after the jump or the field of view that the panel asks for."""
        camera = self._handle.camera
        pose = pose_of(camera.wxyz, camera.position, camera.fov, (camera.image_width, camera.image_height))
        if pose is None:
            return self._pose
        if self.panel.at is not None and self.panel.at != self._view:
            pose = self._jump(run, self.panel.at, pose.aspect, now)
        elif self.panel.at is None:
            self._view = None
        elif abs(self.panel.fov - self._fov) > 1e-3:
            self.panel.at = self._view = None
        if self._view is not None:
            if now < self._settled or self._given is None:
                self._given = pose
            elif not same_place(pose, self._given):
                self.panel.at = self._view = None
        if self._view is None and abs(self.panel.fov - self._fov) > 1e-3:
            self._fov = camera.fov = self.panel.fov
            pose = replace(pose, fov=self._fov)
        if pose != self._pose:
            self._pose, self._moved = pose, now
        return pose

    def _jump(self, run: Run, view: int, aspect: float, now: float) -> Pose:
        target, camera = pose_at(run.scene.views[view].camera, aspect), self._handle.camera
        place = camera_of(target, 2, 2).camera_to_world.double().numpy()
        ahead = (self._middle - place[:3, 3]) @ place[:3, 2]  # turning is around this point
        distance = ahead if ahead > 0 else run.scene.rig_radius
        with self._handle.atomic():
            camera.up_direction = -place[:3, 1]
            camera.position = place[:3, 3]
            camera.look_at = place[:3, 3] + distance * place[:3, 2]
            camera.fov = target.fov
        self.panel.fov = target.fov
        self._view, self._given, self._fov, self._settled = view, None, self.panel.fov, now + SETTLING
        return target

    def _follow_time(self, run: Run, now: float) -> bool:
        """Lets time run, and follows the slider; True while time runs."""
        panel, rate = self.panel, self._rate * self.panel.speed
        if panel.frame != self._slider:  # somebody has moved it
            self._frame, self._slider, self._began = float(panel.frame), panel.frame, None
        if not panel.playing:
            self._began = None
            return False
        if self._began is None or self._began[2] != rate:
            self._began = (now, self._frame, rate)
        start, num_frames = self._began[1], run.scene.num_frames
        self._frame = played_frame(start, now - self._began[0], rate=rate, num_frames=num_frames, loop=panel.loop)
        panel.frame = self._slider = int(self._frame)
        if not panel.loop and self._frame >= num_frames - 1:
            panel.playing = False
        return True

    def _follow_rig(self, run: Run) -> None:
        """Draws the scene's cameras, or hides them."""
        if self.panel.rig and not self._rig:
            for index, view in enumerate(run.scene.views):
                pose = pose_at(view.camera, view.camera.width / view.camera.height)
                self._rig.append(
                    self._handle.scene.add_camera_frustum(
                        f"/cameras/{view.name}",
                        fov=pose.fov,
                        aspect=pose.aspect,
                        scale=FRUSTUM * run.scene.rig_radius,
                        thickness=FRUSTUM * run.scene.rig_radius / 20,
                        color=(230, 159, 0) if index in run.scene.test else (0, 114, 178),
                        wxyz=pose.wxyz,
                        position=pose.position,
                    )
                )
        for frustum in self._rig:
            if frustum.visible != self.panel.rig:
                frustum.visible = self.panel.rig

    def _file_camera(self, run: Run, pose: Pose) -> tuple[Camera, int | None]:
        """The camera in the size of files; of a recorded one's own size it is that one, exactly."""
        width, height = self.panel.size
        if self._view is not None:
            recorded = run.scene.views[self._view].camera
            if (recorded.width, recorded.height) == (width, height):
                return recorded, self._view
        return camera_of(pose, width, height), None

    def _screenshot(self, run: Run, pose: Pose) -> None:
        camera, view = self._file_camera(run, pose)
        picture = picture_of(run, self.panel.state(self._frame), camera, view=view, width=camera.width)
        file = io.BytesIO()
        Image.fromarray(picture.image).save(file, format="PNG")
        where = "free" if view is None else run.scene.views[view].name
        self._send(f"{run.scene.name}_{where}_{self._frame:g}.png", file.getvalue())

    def _show_json(self, run: Run, pose: Pose) -> None:
        self.panel.text.value = path_json([(self._file_camera(run, pose)[0], self._frame)])

    def _add_key(self, run: Run, pose: Pose) -> None:
        if len(self._keys) < MOST_KEYS:
            self._keys.append((pose, self._frame))
        self._tell_keys()

    def _drop_key(self, run: Run, pose: Pose) -> None:
        self._keys = self._keys[:-1]
        self._tell_keys()

    def _tell_keys(self) -> None:
        frames = ", ".join(f"{frame:g}" for _, frame in self._keys)
        self.panel.keys.content = f"key cameras at frames {frames}" if self._keys else "no key camera"

    def _send_path(self, run: Run, pose: Pose) -> None:
        if len(self._keys) < 2:
            self.panel.keys.content = f"{len(self._keys)} key cameras: add two or more"
            return
        size = self.panel.size
        way = path_through([(camera_of(key, *size), frame) for key, frame in self._keys], self.panel.images)
        self._send(f"{run.scene.name}_path.json", path_json(way).encode())

    def _send(self, name: str, content: bytes) -> None:
        self._handle.send_file_download(name, content, save_immediately=True)


CLICKS: dict[str, Callable[[Client, Run, Pose], None]] = {
    "screenshot": Client._screenshot,
    "json": Client._show_json,
    "key": Client._add_key,
    "drop": Client._drop_key,
    "path": Client._send_path,
}


def upwards(run: Run) -> tuple[float, float, float]:
    """The direction that points up for a run's cameras; SceneError where they have none."""
    x, y, z = rig_up(run.scene.views).tolist()
    return x, y, z
