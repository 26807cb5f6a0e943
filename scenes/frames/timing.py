"""Times of a video's frames: its frame rate, and how far frames lie from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

UNEVEN = 0.4  # frames; one dropped frame in a long video moves the others by half a frame from the mean rate
_FINEST = 1001  # denominator of frame rates: 30000/1001


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The mean frame rate of a video, and how far its frames lie from it."""

    rate: Fraction  # frames per second
    uneven: float = 0.0  # frames: largest distance of a frame from its time at that rate
    gap: float = 1.0  # frames: largest time between two neighbours, in median ones; 2: a frame was dropped
    gap_before: int | None = None  # number of the frame after that gap


def timing_of(times: Sequence[float], stated: Fraction | None) -> Timing | None:
    """Fit an even frame rate to the times of frames in seconds.

    stated: the file's own rate, kept where it fits within half a frame over the video; None where there is none.
    None for fewer than two times without a stated rate.
    """
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    if len(ordered) < 2 or ordered[-1] <= ordered[0]:
        return Timing(rate=stated) if stated else None
    measured = (len(ordered) - 1) / float(ordered[-1] - ordered[0])
    fits = stated is not None and abs(float(stated) / measured - 1) * len(ordered) < 0.5
    rate = stated if stated is not None and fits else Fraction(measured).limit_denominator(_FINEST)
    late = (ordered - ordered[0]) * measured - np.arange(len(ordered))
    gaps = np.diff(ordered)
    usual, widest = float(np.median(gaps)), int(gaps.argmax())
    return Timing(
        rate=rate,
        uneven=float(np.abs(late).max()),
        gap=float(gaps[widest]) / usual if usual > 0 else 1.0,
        gap_before=widest + 1,
    )
