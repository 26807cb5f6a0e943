"""The same images and models under the names that other trainers look for, as links."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from scenes.layouts.clip import Clip
from scenes.preparation.frames import Images
from scenes.preparation.options import ExtraLayout, PrepareOptions
from scenes.preparation.sfm.models import model_folder
from scenes.preparation.steps import Step, Workbench

VERSION = 1
FRAMES_ED3DGS = 300  # its N3V loader asks for exactly so many

Links = Mapping[str, Path]  # name below the scene's folder -> what it leads to


def linked_layouts(bench: Workbench, images: Images, clip: Clip, options: PrepareOptions) -> None:
    """Makes the layouts asked for, of images of all frames."""
    for layout in options.layouts:
        links = MAKERS[layout](bench, images, clip)
        outputs = OUTPUTS[layout](list(images[clip.start]))
        bench.run(_linking(bench, f"layout_{layout}", links, outputs))


def n3v_layout_notes(clip: Clip, options: PrepareOptions) -> list[str]:
    """What other trainers of N3V scenes will not take."""
    if "ed3dgs" in options.layouts and clip.count != FRAMES_ED3DGS:
        return [f"E-D3DGS's own loader wants {FRAMES_ED3DGS} frames a camera, the clip has {clip.count}"]
    return []


def layout_outputs(cameras: Iterable[str], options: PrepareOptions) -> list[str]:
    """Files and folders that the layouts asked for will take."""
    names = list(cameras)
    return [output for layout in options.layouts for output in OUTPUTS[layout](names)]


def _ed3dgs(bench: Workbench, images: Images, clip: Clip) -> Links:
    links = _renumbered(images, clip, "images/{name}/{frame:04d}")
    workspace = "colmap/dense/workspace"
    links[f"{workspace}/sparse"] = model_folder(bench.root, clip.start)
    links[f"{workspace}/fused.ply"] = bench.root / "points3D.ply"
    return links


def _fourdgaussians(bench: Workbench, images: Images, clip: Clip) -> Links:
    return _renumbered(images, clip, "{name}/images/{frame:04d}")


MAKERS = {"ed3dgs": _ed3dgs, "4dgaussians": _fourdgaussians}
OUTPUTS: dict[ExtraLayout, Callable[[list[str]], list[str]]] = {
    "ed3dgs": lambda cameras: ["images", "colmap"],
    "4dgaussians": lambda cameras: [f"{name}/images" for name in cameras],
}


def _renumbered(images: Images, clip: Clip, pattern: str) -> dict[str, Path]:
    """Links of the clip's frames, counted from 0."""
    return {
        pattern.format(name=name, frame=frame) + path.suffix: path
        for frame in range(clip.count)
        for name, path in images[clip.start + frame].items()
    }


def _linking(bench: Workbench, name: str, links: Links, outputs: list[str]) -> Step:
    def make(scratch: Path) -> Any:
        for link, target in links.items():
            make_link(scratch / link, bench.root / link, target)

    return Step(name=name, version=VERSION, inputs=list(links.values()), options={}, outputs=outputs, make=make)


def make_link(path: Path, final: Path, target: Path) -> None:
    """A relative link to a file or folder, right once it lies at `final`; a hard link where the system has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(os.path.relpath(target, final.parent))
    except OSError:
        os.link(target, path)
