"""The formats of `moegs.py export --to`: one row each, by the ending of the path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from moegs_rasterizer import Camera, Gaussians

from common.disk.files import write_json
from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.evaluation.held_out import ImageAt, mixtures_of
from engine.export.cleaning import Kept, kept_rows
from engine.export.frames import FrameReader
from engine.export.fused import FUSED, Fused, mean_gates
from engine.export.lines import Followed, as_splats
from engine.export.page import MOST_EXPERTS, Page, PagePictures, camera_facts, coded_page, read_page, write_page
from engine.export.page_data import PageExpert
from engine.export.page_rules import page_rules
from engine.export.players import for_players, players_settings, splats_for_players
from engine.export.quality import Quality
from engine.export.snapshots import read_snapshot, write_snapshot
from engine.runs.expert_images import image_of
from engine.runs.run import Run
from experts.base import Expert
from experts.canonical.files import CLIP_LENGTH
from experts.formats.cfg_args import write_cfg_args
from experts.formats.settings import background_setting
from experts.splats.container import coded_4dgs, read_4dgs, write_coded
from experts.splats.frame_files import frame_files, read_sequence, still, write_frame
from experts.splats.model import Splats
from router.novel_views import PLAIN, NovelViews
from scenes.trajectories import looked_at

FACTS_FILE = "export.json"  # in a folder of frames
MIXTURE, FILE, PAGE = "mixture", "file", "page"

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A job: the content, and the way to write it."""

    run: Run
    expert: Expert | None  # of the run; None: all of them together
    quality: Quality
    fps: float
    frame: int = 0  # of files of one frame
    progress: bool = False

    def cameras(self) -> list[Camera]:
        """The cameras of the training."""
        return [self.run.scene.views[view].camera for view in self.run.scene.train]

    def kept(self, expert: Expert, *, floaters: bool) -> Kept:
        """The Gaussians of an expert that are written. floaters: as `kept_rows` takes it."""
        return kept_rows(self.run, expert, least=self.quality.least, floaters=floaters, progress=self.progress)

    def followed(self, expert: Expert, kept: Kept) -> Followed:
        """The splats of an expert on lines."""
        return as_splats(
            expert,
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
    only: int | None = None  # the frame that a file of one frame is of


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A row of FORMATS."""

    prepare: Callable[[Export], Prepared]
    folder: bool = False
    content: str = FUSED  # of all experts together


def _as_4dgs(export: Export) -> Prepared:
    scene = _one_scene(export)
    cameras = export.cameras()
    kept = export.kept(scene, floaters=True)
    splats = splats_for_players(export.followed(scene, kept).splats, cameras)
    centres = [camera.centre for camera in cameras]
    coded = coded_4dgs(splats, fps=export.fps, grid=export.quality.grid, cameras=centres)

    def write(path: Path, facts: Facts) -> None:
        write_coded(path, coded, facts=facts)

    def read(path: Path) -> Mapping[str, ImageAt]:
        return _images_of(read_4dgs(path), export)

    left_out = {scene.name: kept.facts()}
    return Prepared(write=write, sources=_sources(export, scene), read=read, left_out=left_out)


def _as_frames(export: Export) -> Prepared:
    scene, frames = _one_scene(export), export.run.scene.num_frames
    kept = export.kept(scene, floaters=True)
    reader = FrameReader(scene, kept=kept.rows)

    def write(folder: Path, facts: Facts) -> None:
        if not any(folder.glob("*.ply")):
            for number in range(frames):
                write_frame(folder / f"frame_{number:05d}.ply", visible(reader, number, export.cameras()))
            write_cfg_args(folder, {CLIP_LENGTH: frames} | background_setting(scene.background, white=False))
        write_json(folder / FACTS_FILE, dict(facts))

    def read(folder: Path) -> Mapping[str, ImageAt]:
        settings, background = players_settings(scene.settings), scene.background[:3]
        return _images_of(read_sequence(frame_files(folder), settings=settings, background=background), export)

    left_out = {scene.name: kept.facts()}
    return Prepared(write=write, sources=_sources(export, scene), read=read, left_out=left_out)


def _as_snapshot(export: Export, ending: str) -> Prepared:
    scene = _one_scene(export)
    kept = export.kept(scene, floaters=True)
    gaussians = visible(FrameReader(scene, kept=kept.rows), export.frame, export.cameras())

    def write(path: Path, facts: Facts) -> None:
        if not path.stat().st_size:  # it has no place for facts
            write_snapshot(path, gaussians, ending)

    def read(path: Path) -> Mapping[str, ImageAt]:
        found = still(read_snapshot(path, ending))
        found.settings, found.background = players_settings(scene.settings), scene.background[:3]
        return _images_of(found, export)

    return Prepared(
        write=write,
        sources=_sources(export, scene),
        read=read,
        left_out={scene.name: kept.facts()},
        only=export.frame,
    )


def _as_page(export: Export) -> Prepared:
    run = export.run
    experts = run.experts if export.expert is None else (export.expert,)
    if len(experts) > MOST_EXPERTS:
        raise ConfigError(f"a page holds {MOST_EXPERTS} experts at most, the run has {len(experts)}; give --content")
    if run.router.cues is not None and len(experts) > 1:
        raise ConfigError("a page cannot blend by --cues, which this router was trained with; give --content NAME")
    training = [run.scene.views[view] for view in run.scene.train]
    kept = {expert.name: export.kept(expert, floaters=False) for expert in experts}
    page = Page(
        experts=[_page_expert(export, expert, kept[expert.name]) for expert in experts],
        frames=run.scene.num_frames,
        head={name: value.detach().cpu() for name, value in run.router.head.state_dict().items()},
        head_kind=run.router.head_kind,
        temperature=run.router.eval_temperature,
        novel=page_rules(run.novel),
    )
    known = {
        "title": run.scene.name,
        "fps": export.fps,
        "target": [float(value) for value in looked_at(training)],
        "cameras": [
            *(camera_facts(run.scene.views[view], training=False) for view in run.scene.test),
            *(camera_facts(view, training=True) for view in training),
        ],
    }

    coded = coded_page(page, cameras=training, grid=export.quality.page)

    def write(path: Path, facts: Facts) -> None:
        write_page(path, coded, facts={**facts, **known})

    def read(path: Path) -> Mapping[str, ImageAt]:
        return {PAGE: PagePictures(read_page(path), run.compute)}

    alone = {each.name: partial(image_of, each, compute=run.compute, novel=run.novel) for each in experts}
    sources = alone if export.expert is not None else {MIXTURE: mixtures_of(run)}
    left_out = {name: each.facts() for name, each in kept.items()}
    return Prepared(write=write, sources=sources, read=read, left_out=left_out)


def _page_expert(export: Export, expert: Expert, kept: Kept) -> PageExpert:
    """An expert's splats with the routing weights of their Gaussians."""
    followed, features = export.followed(expert, kept), export.run.router.features
    index = export.run.experts.index(expert)
    table = torch.cat([features.static[index], features.temporal[index]], dim=1).detach()
    return PageExpert(name=expert.name, splats=followed.splats, routing=table[followed.rows], rows=followed.rows)


def _one_scene(export: Export) -> Expert:
    """The expert, or all experts fused."""
    if export.expert is not None:
        return export.expert
    return Fused(export.run.experts, mean_gates(export.run, progress=export.progress))


def _images_of(splats: Splats, export: Export) -> Mapping[str, ImageAt]:
    """The images of a file's splats, as players show them."""
    return {FILE: partial(image_of, splats.to(export.run.device), compute=export.run.compute)}


def _sources(export: Export, scene: Expert) -> Mapping[str, ImageAt]:
    """The images of the scene, after those of the mixture where all experts are in it."""
    compute = export.run.compute
    novel = PLAIN if export.expert is None else NovelViews(culling=export.run.novel.culling)
    own = {scene.name: partial(image_of, scene, compute=compute, novel=novel)}
    return own if export.expert is not None else {MIXTURE: mixtures_of(export.run), **own}


@torch.no_grad()
def visible(reader: FrameReader, number: int, cameras: Sequence[Camera]) -> Gaussians:
    """The Gaussians that a frame shows, for players: colours as spherical harmonics of degree 3, on the CPU."""
    frame = reader.at(number)
    seen = frame.opacities > 0
    shown = Gaussians(
        means=frame.means[seen].cpu(),
        scales=frame.log_scales[seen].exp().cpu(),
        quats=frame.quats[seen].cpu(),
        opacities=frame.opacities[seen].cpu(),
        sh=frame.sh[seen].cpu(),
    )
    return for_players(shown, reader.expert.settings, cameras)


FORMATS: Mapping[str, Format] = {
    ".html": Format(prepare=_as_page, content=MIXTURE),
    ".4dgs": Format(prepare=_as_4dgs),
    "": Format(prepare=_as_frames, folder=True),
    **{ending: Format(prepare=partial(_as_snapshot, ending=ending)) for ending in (".ply", ".sog", ".spz", ".glb")},
}


def format_of(path: Path) -> Format:
    """The format of a path's ending; ConfigError naming the nearest where there is none."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        known = [each or "no ending (a folder of PLY files)" for each in FORMATS]
        raise ConfigError(f"--to {path}: cannot write {ending!r}; {hint(ending, known)}")
    return FORMATS[ending]
