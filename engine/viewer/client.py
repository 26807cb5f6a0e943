"""One browser: its camera and time, and the picture that it should have next."""

from __future__ import annotations

import asyncio
import math
import resource
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from queue import Empty

import viser

from engine.runs.device import peak_memory
from engine.runs.run import Run
from engine.viewer.arrival import Arrival
from engine.viewer.cameras import Pose, camera_of, pose_at, pose_of, size_of
from engine.viewer.files import Files, Moment
from engine.viewer.images import Picture, picture_of
from engine.viewer.panel import Panel, literally
from engine.viewer.rig import Rig
from engine.viewer.state import ViewState, next_scale, played_frame, seconds_to_next
from engine.viewer.stream import Stream
from router import Router
from scenes.trajectories import looked_at

REST = 0.25  # seconds without a change of the camera, after which it rests
MOVING_QUALITY, RESTING_QUALITY = 75, 92  # of JPEG
USUAL_RATE = 30.0  # frames per second, where the recording does not say
LEAST_WIDTH = 16  # px
AHEAD = 8  # frames from now, whose Gaussians are computed while nobody waits
TELLING = 0.3  # seconds between two updates of the numbers while pictures change


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A picture to make for a client."""

    router: Router  # another one where another iteration is shown, whatever its number
    state: ViewState
    pose: Pose
    view: int | None  # the scene's camera that the pose is; None: none
    width: int  # px, of the longer side
    scale: float  # of the full width
    resting: bool  # neither the camera nor time moves


class Client:
    """A connected browser. All that is public here is called by one thread alone."""

    def __init__(
        self,
        handle: viser.ClientHandle,
        run: Run,
        wake: Callable[[], None],
        *,
        event_loop: asyncio.AbstractEventLoop,
        width: int,
        budget: float,
        encoders: Executor,
    ) -> None:
        self._handle, self._budget, self._width = handle, budget, width
        self._stream, self._rig = Stream(handle, encoders), Rig(handle)
        self.panel = Panel(handle.gui, run, wake, event_loop=event_loop)
        self._middle = looked_at([run.scene.views[view] for view in run.scene.train])
        self._rate = float(run.scene.frame_rate or USUAL_RATE)
        self._pose: Pose | None = None
        self._moved = -math.inf  # when the camera did last
        self._view: int | None = None
        self._arrival = Arrival()  # at the scene's camera
        self._fov = self.panel.fov
        self._began: tuple[float, float, float] | None = None  # of playing: when, at which frame, at what rate
        self._slider = 0
        self._frame = 0.0
        self._ahead: deque[tuple[int, int | None]] = deque(maxlen=2 * AHEAD)  # of the last looks ahead
        self._scale = 0.5
        self._last: Wish | None = None
        self._told = -math.inf  # when the numbers were updated
        self._files = Files(handle, self.panel)

        @handle.camera.on_update
        def _(_: viser.CameraHandle) -> None:
            self._arrival.hear()
            wake()

    def wish(self, run: Run, now: float) -> Wish | None:
        """The picture that the client should have and has not. now: seconds of a steady clock."""
        pose = self._followed_pose(run, now)
        self._rig.show(run, cameras=self.panel.rig, points=self.panel.points, at=self._view)
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
        small = max(LEAST_WIDTH, round(width * scale))
        wish = Wish(
            router=run.router,
            state=state,
            pose=pose,
            view=self._view,
            width=small,
            scale=scale,
            resting=resting,
        )
        last = self._last
        if last is not None and replace(last, width=small, scale=scale, resting=resting) == wish:
            as_good = last.scale >= scale and (last.resting or not resting)
            return None if as_good else wish
        return wish

    def show(self, run: Run, wish: Wish, now: float) -> None:
        """Makes a picture, sends it, and takes its time as the measure of the next."""
        if wish.view is None:
            camera = camera_of(wish.pose, *size_of(wish.pose.aspect, wish.width))
        else:
            camera = run.scene.views[wish.view].camera
        told = wish.resting or now - self._told > TELLING
        width = min(wish.width, camera.width)
        picture = picture_of(run, wish.state, camera, view=wish.view, width=width, scored=told)
        quality = RESTING_QUALITY if wish.resting else MOVING_QUALITY
        self._stream.send(picture.image, aspect=wish.pose.aspect, quality=quality)
        if told:
            self.panel.info.content, self._told = facts(run, picture, wish.state.frame), now
        self._scale = next_scale(wish.scale, picture.seconds, budget=self._budget)
        self._last = wish

    def give_up(self, wish: Wish | None, fault: str) -> None:
        """Leaves a picture that cannot be made until something changes, and says why; time stands still.

        wish None: it was a file.
        """
        self.panel.playing = False
        if wish is not None:
            self._last = replace(wish, scale=1.0, resting=True)
        self.panel.info.content = f"This {'file' if wish is None else 'picture'} failed: {literally(fault)}"

    def serve_clicks(self, run: Run) -> None:
        """Does what buttons were clicked for."""
        while True:
            try:
                click = self.panel.clicks.get_nowait()
            except Empty:
                return
            if self._pose is not None:
                self._files.serve(click, Moment(run=run, pose=self._pose, view=self._view, frame=self._frame))

    def film_on(self, run: Run) -> bool:
        """Makes an image of the video that the browser asked for; True while it goes on."""
        return self._files.film_on(run)

    def close(self) -> None:
        """Gives up what is being made for the browser."""
        self._files.close()

    def frame_ahead(self, run: Run) -> tuple[int, int | None] | None:
        """The first frame of those shown next that was not asked for, and at which of the scene's cameras.

        None where time does not run, or all were asked for: one that cannot be kept is computed once in vain, not again
        and again.
        """
        if self._began is None:
            return None
        for further in range(1, AHEAD + 1):
            soon = ((int(self._frame) + further) % run.scene.num_frames, self._view)
            if soon not in self._ahead:
                self._ahead.append(soon)
                return soon
        return None

    def due(self, now: float) -> float:
        """The seconds until time asks for another picture."""
        if self._began is None:
            return math.inf
        began, start, rate = self._began
        return seconds_to_next(start, now - began, rate=rate)

    def _window(self) -> int:
        camera = self._handle.camera
        return max(camera.image_width, camera.image_height)

    def _followed_pose(self, run: Run, now: float) -> Pose | None:
        """The browser's pose, after the jump or the field of view that the panel asks for."""
        camera = self._handle.camera
        pose = pose_of(camera.wxyz, camera.position, camera.fov, (camera.image_width, camera.image_height))
        if pose is None:
            return self._pose
        at = self.panel.at
        if at is not None and at != self._view:
            pose = self._jump(run, at, pose.aspect, now)
        elif at is None:
            self._view = None
        elif abs(self.panel.fov - self._fov) > 1e-3:
            self.panel.at = self._view = None
        if self._view is not None and not self._arrival.stays(pose, now):
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
        self._arrival.ask(target, now)
        with self._handle.atomic():
            camera.up_direction = -place[:3, 1]
            camera.position = place[:3, 3]
            camera.look_at = place[:3, 3] + distance * place[:3, 2]
            camera.fov = target.fov
        self._view, self._fov = view, self.panel.show_fov(target.fov)
        return target

    def _follow_time(self, run: Run, now: float) -> bool:
        """Lets time run, and follows the slider; True while time runs."""
        panel, rate = self.panel, self._rate * self.panel.speed
        if (moved_to := panel.frame) != self._slider:  # somebody has moved it
            self._frame, self._slider, self._began = float(moved_to), moved_to, None
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


def facts(run: Run, picture: Picture, frame: float) -> str:
    """The numbers of a picture, as Markdown."""
    height, width = picture.image.shape[:2]
    gaussians = sum(expert.num_gaussians for expert in run.experts)
    gpu = peak_memory(run.device)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 if gpu is None else gpu
    score = "" if picture.psnr is None else f" **{picture.psnr:.2f} dB** PSNR."
    return (
        f"Frame {frame:g}, {width}x{height}, {1000 * picture.seconds:.0f} ms.{score}  \n"
        f"{literally(run.scene.name)}, iteration {run.iteration}: {gaussians:,} Gaussians, {memory:,} MiB."
    )
