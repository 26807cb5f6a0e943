"""Several models of overlapping windows of a clip, as one expert."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Expert, Provenance
from experts.rows import HasRowModules
from experts.windows.folders import Window
from experts.windows.placement import PlacedExpert, Placement, pin, placement_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A model that shows a share of an expert's image at a frame."""

    expert: Expert
    frame: float  # as the model counts it
    rows: slice  # of the routing table of the whole expert
    share: float  # of the image; the shares of a frame's parts sum to 1


class WindowedExpert(nn.Module):
    """Models of windows in time order; rows of all, in this order.

    In an overlap both windows are rendered, and their images are cross-faded: `parts_at` says with which shares. What
    asks for the Gaussians of a frame alone gets those of the window with the larger share. placement: brings models to
    a device when they are shown; None: they stay where they are.
    """

    def __init__(
        self, windows: Sequence[Window], experts: Sequence[Expert], *, placement: Placement | None = None
    ) -> None:
        super().__init__()
        self.windows = tuple(windows)
        self.models = nn.ModuleList(cast(Sequence[nn.Module], experts))
        self.placement = placement
        self._shown: tuple[Expert, ...] = (
            self.experts if placement is None else tuple(PlacedExpert(each, placement) for each in self.experts)
        )
        first = self.experts[0]
        self._name = first.name
        self.background = first.background
        self.same_for_all_cameras = all(getattr(each, "same_for_all_cameras", False) for each in self.experts)
        self.provenance = Provenance(
            files=tuple(file for each in self.experts for file in each.provenance.files),
            iteration=max(each.provenance.iteration for each in self.experts),
            notes=tuple(
                f"{window.name}: {note}" if not note.startswith("warning: ") else note
                for window, each in zip(self.windows, self.experts, strict=True)
                for note in each.provenance.notes
            ),
        )

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name
        for each in self.experts:
            each.name = name

    @property
    def experts(self) -> tuple[Expert, ...]:
        """The windows' models in time order."""
        return tuple(cast(Expert, model) for model in self.models)

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian, of all windows; AttributeError where Gaussians of a window cannot be moved."""
        return tuple(block for each in self.models for block in cast(HasRowModules, each).row_modules)

    @property
    def num_gaussians(self) -> int:
        return sum(each.num_gaussians for each in self.experts)

    @property
    def num_frames(self) -> int:
        """Frames that the windows cover, from 0."""
        return self.windows[-1].last + 1

    @property
    def settings(self) -> RasterSettings:
        """The convention of all windows, with the culling planes of the first."""
        return self.experts[0].settings

    def parts_at(self, frame: float) -> tuple[Part, ...]:
        """The windows that show a frame, with shares that go linearly with the frame over the overlap.

        Raises ValueError for frames that no window covers.
        """
        shown = [index for index, window in enumerate(self.windows) if window.holds(frame)]
        if not shown:
            raise ValueError(f"{self.name}: frame {frame:g} lies outside 0 to {self.num_frames - 1} of its windows")
        shares = [1.0] if len(shown) == 1 else self._shares(shown[1], frame)
        starts = list(itertools.accumulate((each.num_gaussians for each in self.experts), initial=0))
        parts = []
        for index, share in zip(shown, shares, strict=True):
            expert, local = self._shown[index], frame - self.windows[index].first
            rows = expert.rows(local)
            rows = slice(starts[index] + rows.start, starts[index] + rows.stop)
            parts.append(Part(expert=expert, frame=local, rows=rows, share=share))
        return tuple(parts)

    def _shares(self, later: int, frame: float) -> list[float]:
        """Shares of a window's predecessor and of it in their overlap: neither is 0 or 1 at a frame of the overlap."""
        first, last = self.windows[later].first, self.windows[later - 1].last
        share = (frame - first + 1) / (last - first + 2)
        return [1 - share, share]

    def rows(self, frame: float) -> slice:
        """Rows of the window with the largest share."""
        return self._main(frame).rows

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians of the window with the largest share."""
        part = self._main(frame)
        return part.expert.at(part.frame, camera=camera)

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """RGB from the splat of the window with the largest share."""
        part = self._main(frame)
        return part.expert.colour(splat, camera, frame=part.frame)

    def seams(self) -> list[range]:
        """For each pair of neighbouring windows the frames whose change from the frame before is made by both."""
        return [
            range(min(later.first, earlier.last + 1), max(earlier.last + 1, later.first) + 1)
            for earlier, later in itertools.pairwise(self.windows)
        ]

    def _main(self, frame: float) -> Part:
        return max(self.parts_at(frame), key=lambda part: part.share)


class Unfaded(WindowedExpert):
    """The same windows without fades: in an overlap the earlier window alone is shown, or the later one."""

    def __init__(self, expert: WindowedExpert, *, later: bool) -> None:
        super().__init__(expert.windows, expert.experts, placement=expert.placement)
        self._later = later

    def window_at(self, frame: float) -> int:
        """Index of the window that is shown."""
        shown = [index for index, window in enumerate(self.windows) if window.holds(frame)]
        return shown[-1 if self._later else 0]

    def parts_at(self, frame: float) -> tuple[Part, ...]:
        """The one window that is shown."""
        return (replace(super().parts_at(frame)[-1 if self._later else 0], share=1.0),)


def on_device(expert: nn.Module, device: torch.device) -> nn.Module:
    """An expert that makes its images on a device: it lies there, or of windows those that are shown, on a GPU."""
    if device.type == "cpu" or not isinstance(expert, WindowedExpert):
        return expert.to(device)
    pin(expert)
    return WindowedExpert(expert.windows, expert.experts, placement=placement_on(device)).train(expert.training)


def parts_at(expert: Expert, frame: float) -> tuple[Part, ...]:
    """The models that make an expert's image at a frame, most often itself alone."""
    if isinstance(expert, WindowedExpert):
        return expert.parts_at(frame)
    return (Part(expert=expert, frame=frame, rows=expert.rows(frame), share=1.0),)
