"""A clip that gets longer while Ex4DGS trains: keyframes are appended, opacity windows follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from experts.ex4dgs.motion import KeyframeTimeline
from experts.ex4dgs.recipe import Growth
from experts.training.gaussians.population import Population

_STEPS = 4  # between the last keyframes, whose mean those behind them continue
_SPARE = 3  # keyframes beyond the last that time needs
_EDGE = 0.2  # keyframes from both ends of the clip, between which windows' centres are held
_WIDE, _NARROWEST = 1.0, 0.5  # log widths


@dataclass(slots=True)
class Span:
    """The part of the clip that is in training, and the state of the extraction that follows its growth."""

    frames: int  # beyond the clip's by the timeline's shift in the end
    wanted: bool = True  # keyframes came: extract some iterations later
    armed: bool = False  # extract at the next image of the last frames

    def arm(self, iteration: int, growth: Growth) -> None:
        """Arms a wanted extraction when its iteration has come."""
        if self.wanted and iteration > growth.start and (iteration - growth.extract_after) % growth.every == 0:
            self.wanted, self.armed = False, True

    def extracted(self, some: bool) -> None:
        """An armed extraction was tried; it stays wanted where nothing moved."""
        self.armed, self.wanted = False, self.wanted or not some


def full_span(timeline: KeyframeTimeline, num_frames: int) -> int:
    """Frames at which a span stops growing."""
    return math.ceil(num_frames + timeline.shift)


def next_span(frames: int, iteration: int, growth: Growth, *, full: int, stop: int) -> int:
    """Frames in training from an iteration on.

    Ex4DGS's steps of growth.frames, and larger ones for clips of which they would not reach the end before the
    iteration `stop`. At `stop` all frames are in training.
    """
    if iteration >= stop:
        return full
    if iteration <= max(growth.start, growth.every) or iteration % growth.every:
        return frames
    steps = (stop - 1) // growth.every - max(growth.start, growth.every) // growth.every
    step = max(growth.frames, math.ceil((full - growth.frames) / steps))
    return min(full, frames + step)


def first_keyframes(timeline: KeyframeTimeline, frames: int) -> int:
    """Keyframes of the first dynamic Gaussians, when so many frames are in training."""
    return math.ceil((frames + 2 * timeline.shift + 1) / timeline.interval) + _SPARE


def needed_keyframes(timeline: KeyframeTimeline) -> int:
    """Keyframes of a timeline whose duration has grown."""
    reach = timeline.duration + timeline.shift + 2 * timeline.pad + 1
    return math.ceil(reach / timeline.interval) + _SPARE


def lengthened(timeline: KeyframeTimeline, frames: int) -> KeyframeTimeline:
    """The timeline of a training on so many frames."""
    return replace(timeline, duration=frames + 1)


@torch.no_grad()
def append_keyframes(dynamic: Population, old: KeyframeTimeline, new: KeyframeTimeline) -> bool:
    """Continues the keyframes as far as a grown timeline needs them; whether any were added.

    The windows that end with the old clip become _WIDE behind it, their centres stay within it.
    """
    keyframes = dynamic["means"].shape[1]  # 0 before the first extraction
    missing = needed_keyframes(new) - keyframes
    if keyframes == 0 or missing <= 0:
        return False
    for name in ("means", "quats"):
        dynamic.put(name, continued(dynamic[name].detach(), missing))
    centres, widths = dynamic["opacity_centres"].detach(), dynamic["opacity_log_widths"].detach().clone()
    late = (centres > new.duration / new.interval - 0.5).any(1)
    widths[late, 1] = _WIDE
    dynamic.put("opacity_log_widths", widths)
    dynamic.put("opacity_centres", centres.clamp(max=(old.shift + old.duration - 1) / old.interval))
    return True


def continued(keyframes: Tensor, more: int) -> Tensor:
    """Keyframes [n, k, c] and as many more on a straight line, at the mean of the last steps."""
    last, steps = keyframes[:, -1:], min(keyframes.shape[1] - 2, _STEPS)
    step = (last - keyframes[:, -1 - steps, None]) / steps
    ahead = torch.arange(1, more + 1, dtype=keyframes.dtype, device=keyframes.device)
    return torch.cat([keyframes, last + step * ahead[:, None]], dim=1)


@torch.no_grad()
def adjust_windows(dynamic: Population, timeline: KeyframeTimeline, frames: int) -> None:
    """Widens opacity windows that begin or end with the clip, and holds their centres within it."""
    first, last = timeline.position(0) + _EDGE, timeline.position(frames) - _EDGE
    centres, widths = dynamic["opacity_centres"].detach(), dynamic["opacity_log_widths"].detach()
    edges = torch.stack([(centres < first).any(1), (centres > last).any(1)], dim=1)
    wider = torch.where(edges, 2 * widths.clamp(min=1.0), widths.clamp(min=_NARROWEST))
    dynamic.put("opacity_log_widths", wider)
    dynamic.put("opacity_centres", centres.clamp(first, last))
