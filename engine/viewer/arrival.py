"""A browser's way to a camera that it was given: what it reports meanwhile is older, and no move away from it."""

from __future__ import annotations

import math

from engine.viewer.cameras import Pose, same_place

COMING = 10.0  # seconds that a busy browser may take, as one that loads the page
SETTLING = 0.7  # seconds in which it then takes the camera over, with its own rounding


class Arrival:
    """The place of one browser and one camera that it was given. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._asked: Pose | None = None  # to come to
        self._there: Pose | None = None  # where the browser stands for it; None: on its way
        self._until = -math.inf  # when it counts as come, or has taken over
        self._reported = False  # the browser sent a camera since it was asked

    def ask(self, pose: Pose, now: float) -> None:
        """Begins to wait for the browser: call it before the pose is sent."""
        self._asked, self._there, self._until, self._reported = pose, None, now + COMING, False

    def hear(self) -> None:
        """Takes note that the browser sent a camera; any thread may."""
        self._reported = True

    def stays(self, pose: Pose, now: float) -> bool:
        """True while the browser is on its way or there. pose: the one it has by now."""
        if self._there is None:
            come = self._asked is not None and self._reported and same_place(pose, self._asked)
            if come or now >= self._until:
                self._there, self._until = pose, now + SETTLING
        elif now < self._until:
            self._there = pose
        return self._there is None or same_place(pose, self._there)
