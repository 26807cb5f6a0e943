"""The formats of `moegs.py export --to`: one row each, by the ending of the path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from moegs_rasterizer import Gaussians

from common.files import write_json
from common.suggestions import hint
from engine.errors import ConfigError
from engine.export.frames import frame_of
from engine.export.fused import Fused
from engine.export.lines import Tolerance, as_splats
from engine.export.page import MOST_EXPERTS, player_facts, read_page, write_page
from engine.export.page_data import page_of
from engine.runs.run import Run
from experts.base import Expert
from experts.splats.container import Grid, read_4dgs, write_4dgs
from experts.splats.frame_files import frame_files, read_sequence, write_frame
from scenes.trajectories import looked_at

FACTS_FILE = "export.json"  # in a folder of frames

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How exactly files hold a scene."""

    tolerance: Tolerance  # of lines, and of values that stay the same for a while
    grid: Grid  # of `.4dgs`


QUALITIES: Mapping[str, Quality] = {
    "high": Quality(
        tolerance=Tolerance(place=0.1, pixels=0.15, quat=0.02, log_scale=0.03, opacity=0.02, colour=0.015),
        grid=Grid(profile="default", sh_steps=(1, 1, 2)),
    ),
    "small": Quality(
        tolerance=Tolerance(place=0.4, pixels=0.5, quat=0.05, log_scale=0.12, opacity=0.08, colour=0.05),
        grid=Grid(profile="default", sh_steps=(2, 4, 8)),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What to export, and how."""

    run: Run
    content: Expert  # one of the run's experts, or the fused scene
    quality: Quality
    fps: float
    progress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A row of FORMATS.

    prepare: what is to be written, computed once; the function it gives writes it to a path, with facts. read: the
    splats of what was written, by which its loss is measured.
    """

    folder: bool = False
    prepare: Callable[[Export], Callable[[Path, Facts], None]]
    read: Callable[[Path, Export], Expert]


def _as_4dgs(export: Export) -> Callable[[Path, Facts], None]:
    cameras = [export.run.scene.views[view].camera for view in export.run.scene.train]
    frames, tolerance = export.run.scene.num_frames, export.quality.tolerance
    splats = as_splats(
        export.content, cameras, num_frames=frames, tolerance=tolerance, progress=export.progress
    ).splats.cpu()
    centres = [camera.centre for camera in cameras]

    def write(path: Path, facts: Facts) -> None:
        write_4dgs(path, splats, fps=export.fps, grid=export.quality.grid, cameras=centres, facts=facts)

    return write


def _as_page(export: Export) -> Callable[[Path, Facts], None]:
    run, content = export.run, export.content
    experts = content.experts if isinstance(content, Fused) else (content,)
    counts = [expert.num_gaussians for expert in experts]
    gates = content.gates.split(counts) if isinstance(content, Fused) else [torch.ones(counts[0])]
    if len(experts) > MOST_EXPERTS:
        raise ConfigError(f"a page holds {MOST_EXPERTS} experts at most, the run has {len(experts)}; give --content")
    training = [run.scene.views[view] for view in run.scene.train]
    cameras = [view.camera for view in training]
    followed = [
        as_splats(
            expert,
            cameras,
            num_frames=run.scene.num_frames,
            tolerance=export.quality.tolerance,
            progress=export.progress,
        )
        for expert in experts
    ]
    page = page_of(followed, gates)
    known = player_facts(
        page,
        title=run.scene.name,
        names=[expert.name for expert in experts],
        fps=export.fps,
        target=looked_at(training),
        cameras=[*(run.scene.views[view] for view in run.scene.test), *training],
    )

    def write(path: Path, facts: Facts) -> None:
        write_page(path, page, facts={**facts, **known}, cameras=training, steps=export.quality.grid.sh_steps)

    return write


def _read_page(path: Path, export: Export) -> Expert:
    return read_page(path).to(export.run.device)


def _as_frames(export: Export) -> Callable[[Path, Facts], None]:
    def write(folder: Path, facts: Facts) -> None:
        if not any(folder.glob("*.ply")):
            for number in range(export.run.scene.num_frames):
                write_frame(folder / f"frame_{number:05d}.ply", visible(export.content, number))
        write_json(folder / FACTS_FILE, dict(facts))

    return write


@torch.no_grad()
def visible(content: Expert, number: int) -> Gaussians:
    """The Gaussians that a frame shows, their colours as spherical harmonics of degree 3, on the CPU."""
    frame = frame_of(content, number)
    seen = frame.opacities > 0
    return Gaussians(
        means=frame.means[seen].cpu(),
        scales=frame.log_scales[seen].exp().cpu(),
        quats=frame.quats[seen].cpu(),
        opacities=frame.opacities[seen].cpu(),
        sh=frame.sh[seen].cpu(),
    )


def _read_4dgs(path: Path, export: Export) -> Expert:
    return read_4dgs(path).to(export.run.device)


def _read_frames(folder: Path, export: Export) -> Expert:
    content = export.content
    splats = read_sequence(frame_files(folder), settings=content.settings, background=content.background[:3])
    return splats.to(export.run.device)


FORMATS: Mapping[str, Format] = {
    ".4dgs": Format(prepare=_as_4dgs, read=_read_4dgs),
    ".html": Format(prepare=_as_page, read=_read_page),
    "": Format(prepare=_as_frames, read=_read_frames, folder=True),
}


def format_of(path: Path) -> Format:
    """The format of a path's ending; ConfigError naming the nearest where there is none."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        known = [each or "no ending (a folder of PLY files)" for each in FORMATS]
        raise ConfigError(f"--to {path}: cannot write {ending!r}; {hint(ending, known)}")
    return FORMATS[ending]
