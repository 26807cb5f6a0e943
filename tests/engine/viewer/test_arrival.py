"""A browser's way to a camera that it was given, by poses at times."""

from __future__ import annotations

import pytest

from engine.viewer.arrival import COMING, SETTLING, Arrival
from engine.viewer.cameras import Pose


def at(x: float) -> Pose:
    return Pose(wxyz=(1, 0, 0, 0), position=(x, 0, 0), fov=0.7, aspect=1.5)


def asked() -> Arrival:
    arrival = Arrival()
    arrival.ask(at(1), 100.0)
    return arrival


def test_what_comes_before_it_is_there_is_older_however_late() -> None:
    arrival = asked()
    arrival.hear()
    assert all(arrival.stays(at(0), 100 + late) for late in (0, 2, COMING - 0.1))


def test_once_there_a_move_leaves_the_camera() -> None:
    arrival = asked()
    arrival.hear()
    assert arrival.stays(at(0), 103) and arrival.stays(at(1), 104)
    assert arrival.stays(at(1.0004), 104 + SETTLING / 2)  # its rounding
    assert not arrival.stays(at(1.1), 104 + SETTLING)


def test_a_pose_that_the_browser_has_not_sent_is_no_arrival() -> None:
    """The server's own note of where it sends the browser."""
    arrival = asked()
    assert arrival.stays(at(1), 100.1)
    arrival.hear()
    assert arrival.stays(at(0), 103)  # sent before it was asked


@pytest.mark.parametrize("moves", [True, False])
def test_a_browser_that_never_comes_counts_as_there(moves: bool) -> None:
    arrival = asked()
    arrival.hear()
    assert arrival.stays(at(0.5), 100 + COMING)
    assert arrival.stays(at(0.6 if moves else 0.5), 100 + COMING + SETTLING) is not moves
