"""The formats of `moegs.py export --to`: one row each, by the ending of the path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import torch
from moegs_rasterizer import Camera, Gaussians

from common.disk.files import write_json
from common.text.suggestions import hint
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.held_out import ImageAt, mixtures_of
from engine.export.frames import FrameReader
from engine.export.fused import FUSED, Fused, mean_gates
from engine.export.job import Export, Facts, Prepared
from engine.export.pages.export import MIXTURE, as_page
from engine.export.pages.rules import page_rules
from engine.export.players.convention import (
    DAMPING,
    for_players,
    made_for_players,
    players_settings,
    splats_for_players,
)
from engine.export.players.surroundings import gaussians_with, splats_with, surroundings_facts
from engine.export.snapshots import read_snapshot, write_snapshot
from engine.runs.experts.images import image_of
from experts.base import Expert
from experts.canonical.files import CLIP_LENGTH
from experts.formats.cfg_args import write_cfg_args
from experts.formats.settings import FIRST_FRAME, background_setting
from experts.splats.container import coded_4dgs, read_4dgs, write_coded
from experts.splats.facts import FIRST
from experts.splats.files import NEAR
from experts.splats.frame_files import frame_files, read_sequence, still, write_frame
from experts.splats.model import Splats
from router.novel_views import PLAIN

FACTS_FILE = "export.json"  # in a folder of frames
FILE = "file"
REACH = {".spz": 2047.0}  # largest coordinates that endings hold: beyond, they come out on the other side


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
    damping = 1.0 if made_for_players(scene) else DAMPING
    splats = splats_for_players(export.followed(scene, kept).splats, cameras, damping=damping)
    around = export.around(scene, kept, most=splats.num_gaussians)  # so that their scales are not the file's median
    splats = splats if around is None else splats_with(splats, around)
    centres = [camera.centre for camera in cameras]
    coded = coded_4dgs(splats, fps=export.fps, grid=export.quality.grid, cameras=centres)

    def write(path: Path, facts: Facts) -> None:
        write_coded(path, coded, facts=facts)

    def read(path: Path) -> Mapping[str, ImageAt]:
        return _images_of(read_4dgs(path), export)

    return Prepared(
        write=write,
        sources=_sources(export, scene),
        read=read,
        left_out={scene.name: kept.facts()},
        told={
            **kept.told(),
            **surroundings_facts(around),
            "harmonics_of_degree_2_and_3": damping,
            FIRST: export.run.scene.start,
        },
    )


def _as_frames(export: Export) -> Prepared:
    scene, frames = _one_scene(export), export.run.scene.num_frames
    kept = export.kept(scene, floaters=True)
    reader, around = FrameReader(kept.of(scene), kept=kept.rows), export.around(scene, kept)
    settings = players_settings(scene.settings)

    def write(folder: Path, facts: Facts) -> None:
        if not any(folder.glob("*.ply")):
            for number in range(frames):
                write_frame(folder / f"frame_{number:05d}.ply", visible(reader, number, export.cameras(), around))
            known = {CLIP_LENGTH: frames, FIRST_FRAME: export.run.scene.start, NEAR: settings.near}
            write_cfg_args(folder, known | background_setting(scene.background, white=False))
        write_json(folder / FACTS_FILE, dict(facts))

    def read(folder: Path) -> Mapping[str, ImageAt]:
        background = scene.background[:3]
        return _images_of(read_sequence(frame_files(folder), settings=settings, background=background), export)

    return Prepared(
        write=write,
        sources=_sources(export, scene),
        read=read,
        left_out={scene.name: kept.facts()},
        told={**kept.told(), **surroundings_facts(around)},
    )


def _as_snapshot(export: Export, ending: str) -> Prepared:
    scene = _one_scene(export)
    kept = export.kept(scene, floaters=True)
    reach = REACH.get(ending, inf)
    around = export.around(scene, kept, within=reach)
    gaussians = visible(FrameReader(kept.of(scene), kept=kept.rows), export.frame, export.cameras(), around)
    beyond = int((gaussians.means.abs() > reach).any(dim=1).sum())
    if beyond:
        raise ConfigError(
            f"{scene.name}: {counted(beyond, 'Gaussian')} of frame {export.frame} with a coordinate beyond {reach:g}, "
            f"which {ending} cannot hold; write .ply, .glb or .sog"
        )

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
        told={**kept.told(), **surroundings_facts(around)},
        only=export.frame,
    )


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
    novel = PLAIN if export.expert is None else page_rules(export.run, export.expert)
    own = {scene.name: partial(image_of, scene, compute=compute, novel=novel)}
    return own if export.expert is not None else {MIXTURE: mixtures_of(export.run), **own}


@torch.no_grad()
def visible(reader: FrameReader, number: int, cameras: Sequence[Camera], around: Gaussians | None) -> Gaussians:
    """The Gaussians that a frame shows, for players: colours as spherical harmonics of degree 3, on the CPU.

    around: of `surroundings`, which are added.
    """
    frame = reader.at(number)
    seen = frame.opacities > 0
    shown = Gaussians(
        means=frame.means[seen].cpu(),
        scales=frame.log_scales[seen].exp().cpu(),
        quats=frame.quats[seen].cpu(),
        opacities=frame.opacities[seen].cpu(),
        sh=frame.sh[seen].cpu(),
    )
    drawn = for_players(shown, reader.expert.settings, cameras)
    return drawn if around is None else gaussians_with(drawn, around)


FORMATS: Mapping[str, Format] = {
    ".html": Format(prepare=as_page, content=MIXTURE),
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
