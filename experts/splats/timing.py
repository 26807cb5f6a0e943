"""The time of a `.4dgs` file, which counts seconds, in frames of the clip."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_RATE = 30.0  # frames a second, where neither the file nor a clip says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The frames that a file's seconds are."""

    frames: int
    fps: float  # frames a second
    told: str  # how they are known
    by_clip: bool = False  # the file has seconds only, which are counted at the clip's frame rate


def timing_of(
    seconds: float, own: int | None, *, num_frames: int | None = None, frame_rate: float | None = None
) -> Timing:
    """The timing of a file that lasts some seconds.

    own: the frames that a file of this project tells. num_frames, frame_rate: of the clip; None: unknown.

    The file of another program has seconds only, and begins with the clip. They are counted at the clip's frame rate:
    a file that is longer or shorter than the clip keeps its speed. Seconds may last until the moment of the last frame
    or until its end: a file that seems one frame shorter than the clip has them all. A clip of images has no frame
    rate. Then the file is taken to be as long as the clip: nothing else is known, and it holds for every file of the
    whole clip.
    """
    lasts = f"{seconds:.4g} s"
    if own is not None:
        return Timing(frames=own, fps=own / seconds, told=f"{lasts}, as the file says")
    if frame_rate is None and num_frames is not None:
        told = f"{lasts}, taken to be the whole clip, whose images have no frame rate"
        return Timing(frames=num_frames, fps=num_frames / seconds, told=told)
    fps, whose = (USUAL_RATE, "the usual") if frame_rate is None else (frame_rate, "the clip's")
    told = f"{lasts} at {whose} {fps:.4g} frames a second"
    frames = round(fps * seconds)
    if frames and num_frames == frames + 1:
        frames, told = num_frames, f"{told}, until the moment of the clip's last frame"
    return Timing(frames=max(1, frames), fps=fps, told=told, by_clip=frame_rate is not None)
