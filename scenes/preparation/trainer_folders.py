"""Folders of other trainers: links to a scene's images and models under the names that they look for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenes.frames.clip import Clip
from scenes.preparation.frames import ImagesByFrame
from scenes.preparation.options import OtherTrainer, PrepareOptions
from scenes.preparation.sfm.models import colmap_model_folder
from scenes.preparation.steps import PreparationStep, Workbench

_VERSION = 1
FRAMES_ED3DGS = 300  # its N3V loader asks for exactly so many

Links = Mapping[str, Path]  # name below the scene's folder -> what it leads to


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerFolders:
    """Folders that another trainer reads."""

    links: Callable[[Path, ImagesByFrame, Clip], Links]  # scene's folder, images of all frames
    outputs: Callable[[Sequence[str]], list[str]]  # camera names -> files and folders that the links take


def link_trainer_folders(bench: Workbench, images: ImagesByFrame, clip: Clip, options: PrepareOptions) -> None:
    """Make the folders asked for, of images of all frames."""
    for trainer in options.trainer_folders:
        folders = TRAINERS[trainer]
        links, outputs = folders.links(bench.root, images, clip), folders.outputs(list(images[clip.start]))
        bench.run(_linking(bench, f"layout_{trainer}", links, outputs))


def n3v_trainer_notes(clip: Clip, options: PrepareOptions) -> list[str]:
    """Remark on what other trainers of N3V scenes will not take."""
    if "ed3dgs" in options.trainer_folders and clip.count != FRAMES_ED3DGS:
        return [f"E-D3DGS's own loader wants {FRAMES_ED3DGS} frames a camera, the clip has {clip.count}"]
    return []


def trainer_folder_outputs(cameras: Iterable[str], options: PrepareOptions) -> list[str]:
    """List the files and folders that the trainers' folders asked for will take."""
    names = list(cameras)
    return [output for trainer in options.trainer_folders for output in TRAINERS[trainer].outputs(names)]


def _ed3dgs_links(root: Path, images: ImagesByFrame, clip: Clip) -> Links:
    links = _renumbered(images, clip, "images/{name}/{frame:04d}")
    workspace = "colmap/dense/workspace"
    links[f"{workspace}/sparse"] = colmap_model_folder(root, clip.start)
    links[f"{workspace}/fused.ply"] = root / "points3D.ply"
    return links


def _fourdgaussians_links(root: Path, images: ImagesByFrame, clip: Clip) -> Links:
    return _renumbered(images, clip, "{name}/images/{frame:04d}")


TRAINERS: dict[OtherTrainer, TrainerFolders] = {
    "ed3dgs": TrainerFolders(links=_ed3dgs_links, outputs=lambda cameras: ["images", "colmap"]),
    "4dgaussians": TrainerFolders(
        links=_fourdgaussians_links, outputs=lambda cameras: [f"{name}/images" for name in cameras]
    ),
}


def _renumbered(images: ImagesByFrame, clip: Clip, pattern: str) -> dict[str, Path]:
    """Links of the clip's frames, counted from 0."""
    return {
        pattern.format(name=name, frame=frame) + path.suffix.lower(): path
        for frame in range(clip.count)
        for name, path in images[clip.start + frame].items()
    }


def _linking(bench: Workbench, name: str, links: Links, outputs: list[str]) -> PreparationStep:
    def make(scratch: Path) -> Any:
        for link, target in links.items():
            make_link(scratch / link, bench.root / link, target)

    return PreparationStep(
        name=name, version=_VERSION, inputs=list(links.values()), options={}, outputs=outputs, make=make
    )


def make_link(path: Path, final: Path, target: Path) -> None:
    """Make a relative link to a file or folder, right once it lies at `final`; a hard link where there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(os.path.relpath(target, final.parent))
    except OSError:
        os.link(target, path)
