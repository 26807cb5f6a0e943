"""The export of a run: what is asked for, and what is made of it before it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from moegs_rasterizer import Camera, Gaussians

from engine.evaluation.held_out import ImageAt
from engine.export.cleaning.kept import Kept, all_rows, kept_rows
from engine.export.following.lines import Followed, as_splats
from engine.export.players.convention import made_for_players
from engine.export.players.surroundings import COUNT, surroundings
from engine.export.quality import Quality
from engine.runs.run import Run
from experts.base import Expert

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A job: the content, and the way to write it."""

    run: Run
    expert: Expert | None  # of the run; None: all of them together
    quality: Quality
    fps: float
    smaller: Quality | None = None  # of a page that would be larger than `megabytes`
    megabytes: float | None = None  # that a page takes at most; None: as many as it needs
    frame: int = 0  # of files of one frame
    progress: bool = False

    def cameras(self) -> list[Camera]:
        """The cameras of the training."""
        return [self.run.scene.views[view].camera for view in self.run.scene.train]

    def kept(self, expert: Expert, *, floaters: bool) -> Kept:
        """The Gaussians of an expert that are written, all of what was made for players. floaters: see `kept_rows`."""
        if made_for_players(expert):
            return all_rows(expert, self.run.device)
        return kept_rows(self.run, expert, least=self.quality.least, floaters=floaters, progress=self.progress)

    def around(self, expert: Expert, kept: Kept, *, most: int = COUNT, within: float = inf) -> Gaussians | None:
        """The splats around an expert, as `surroundings` gives them; None for what was made for players."""
        if made_for_players(expert):
            return None
        return surroundings(self.run, kept.of(expert), kept=kept.rows, most=most, within=within, progress=self.progress)

    def followed(self, expert: Expert, kept: Kept) -> Followed:
        """The splats of an expert on lines."""
        return as_splats(
            kept.of(expert),
            self.cameras(),
            num_frames=self.run.scene.num_frames,
            tolerance=self.quality.tolerance,
            kept=kept.rows,
            progress=self.progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The content of a file, computed once."""

    write: Callable[[Path, Facts], None]  # to a path, with facts
    sources: Mapping[str, ImageAt]  # images of what it was made of, by name; the first is what it stands for
    read: Callable[[Path], Mapping[str, ImageAt]]  # images of what was written
    left_out: Mapping[str, Mapping[str, int]]  # by the name of an expert, Gaussians that were not written
    told: Facts = field(default_factory=dict)  # more that the file tells
    only: int | None = None  # the frame that a file of one frame is of
