"""The image sequences of a rendering: for each the names of its video and its PNG folder, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import numpy as np

from engine.outputs.frame_images import FrameImages
from engine.outputs.grid import grid_of
from engine.outputs.maps import depth_map, error_map, winner_map
from engine.settings.rendering.render_maps import MapName

MIXTURE = "MoE"  # the mixture's name among files and scored methods


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A sequence of images."""

    video: str | None  # None: PNGs alone
    folder: str  # of the PNGs
    draw: Callable[[FrameImages], np.ndarray]
    of_truth: bool = False  # drawn where there is a recorded frame


def streams_of(experts: Sequence[str], maps: Sequence[MapName]) -> list[Stream]:
    """List the sequences of the paper's code, then those of `maps`."""
    streams = [Stream(video=f"video_{MIXTURE}", folder="renders", draw=attrgetter("image"))]
    for index, name in enumerate(experts):
        streams.append(Stream(video=f"video_{name}", folder=f"renders_{name}", draw=partial(_expert, index=index)))
    for index, name in enumerate(experts):
        streams.append(Stream(video=f"weights_{name}", folder=f"weights_{name}", draw=partial(_gate, index=index)))
    recorded = "video_gt" if "truth" in maps else None
    streams.append(Stream(video=recorded, folder="gt", draw=attrgetter("truth"), of_truth=True))
    further = {
        "error": Stream(video=f"error_{MIXTURE}", folder=f"error_{MIXTURE}", draw=error_map, of_truth=True),
        "winner": Stream(video="winner", folder="winner", draw=partial(winner_map, experts=tuple(experts))),
        "depth": Stream(video=f"depth_{MIXTURE}", folder=f"depth_{MIXTURE}", draw=depth_map),
        "alpha": Stream(video=f"alpha_{MIXTURE}", folder=f"alpha_{MIXTURE}", draw=attrgetter("alpha")),
        "grid": Stream(video="grid", folder="grid", draw=partial(grid_of, experts=tuple(experts))),
    }
    return streams + [stream for name, stream in further.items() if name in maps]


def _expert(frame: FrameImages, *, index: int) -> np.ndarray:
    return frame.experts[index]


def _gate(frame: FrameImages, *, index: int) -> np.ndarray:
    return frame.gates[index]
