from __future__ import annotations

import pytest

from engine.viewer.state import kinds_of, next_scale, played_frame, seconds_to_next


def test_one_expert_has_no_gates_to_show() -> None:
    assert "gate a" in kinds_of(["a", "b"]) and "winner" in kinds_of(["a", "b"])
    assert kinds_of(["a"]) == ("mixture", "depth", "opacity", "error", "recorded")


@pytest.mark.parametrize(
    ("seconds", "rate", "loop", "frame"),
    [
        (0.0, 30, True, 8),
        (0.05, 30, True, 9),
        (0.1, 30, True, 1),  # frame 11 of 10
        (5.0, 30, False, 9),
        (0.1, 3, True, 8.25),  # slow motion
        (0.7, 3, True, 0),  # frame 10 of 10
    ],
)
def test_time_runs(seconds: float, rate: float, loop: bool, frame: float) -> None:
    assert played_frame(8, seconds, rate=rate, num_frames=10, loop=loop) == frame


@pytest.mark.parametrize(
    ("start", "seconds", "rate", "left"),
    [(8, 0.0, 50, 0.02), (8, 0.03, 50, 0.01), (8.5, 0.0, 50, 0.01), (2, 0.0, 5, 0.05), (2, 0.12, 5, 0.03)],
)
def test_the_next_frame_is_due_when_it_is_shown(start: float, seconds: float, rate: float, left: float) -> None:
    due = seconds_to_next(start, seconds, rate=rate)
    assert due == pytest.approx(left)
    before, after = (
        played_frame(start, seconds + due + step, rate=rate, num_frames=99, loop=True) for step in (-1e-6, 1e-6)
    )
    assert before == played_frame(start, seconds, rate=rate, num_frames=99, loop=True) < after


def test_the_resolution_follows_the_time_of_a_picture() -> None:
    scale = 1.0
    for _ in range(10):  # a picture of full size takes 0.4 s, time goes with the pixels
        scale = next_scale(scale, 0.4 * scale**2, budget=0.1)
    assert scale == pytest.approx(0.5, abs=1e-6)
    assert next_scale(1.0, 100.0, budget=0.1) == 0.5  # one hiccup
    assert next_scale(0.6, 0.0, budget=0.1) == 1.0
    assert next_scale(0.16, 100.0, budget=0.1) == 0.15
