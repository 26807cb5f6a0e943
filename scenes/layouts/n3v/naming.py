"""Cameras of a folder whose videos or folders of images have any names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.disk.files import read_json
from scenes.frames.image_files import numbered_images, probe_images
from scenes.frames.sources import FrameSource
from scenes.frames.video import VIDEO_SUFFIXES, probe_video
from scenes.layouts.contents import is_hidden, visible_images
from scenes.layouts.n3v.frames import CAMERA_NAME, NAMED_FRAME, TEST_CAMERA, named_frames, natural
from scenes.preparation.records import Record
from scenes.preparation.sfm.mapping import FEWEST_CAMERAS
from scenes.preparation.steps import FOLDER, PreparationStep, Workbench
from scenes.preparation.trainer_folders import make_link
from scenes.types import SceneError

_VERSION = 1
NAMES_FILE = "camera_names.json"
STEP = "camera_names"
OF_A_CAMERA = ("frames", "still")  # steps frames_cam00, still_cam00: right whatever the other cameras are


def named_cameras(bench: Workbench, leave_out: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Name the videos or folders of images in the scene's folder; returns path by camera name, and remarks.

    Videos called camXX, and folders called so with images called <number> or frame_<number>, keep their names. Others
    are numbered in the order of their names (cam2 before cam10) and linked to camXX.mp4, or image by image to
    camXX/000000.png; `camera_names.json` lists both names. What an earlier run made of cameras that now have another
    number, or none, is removed.
    SceneError where there are fewer than three, or a link's name is taken.
    """
    paths, kind = _camera_paths(bench, leave_out)
    if len(paths) < FEWEST_CAMERAS:
        raise SceneError(
            f"{bench.root}: {kind} found: {len(paths)}; structure from motion needs at least {FEWEST_CAMERAS} cameras: "
            f"put one video ({', '.join(VIDEO_SUFFIXES)}) or one folder of images a camera there"
        )
    if all(_is_named(path) for path in paths):
        names = {_stem(path): path for path in paths}
        if len(names) < len(paths):
            raise SceneError(f"{bench.root}: two {kind} claim one camera name; keep one of each")
        links: dict[str, Path] = {}
    else:
        names = {f"cam{index:02d}": path for index, path in enumerate(paths)}
        links = {_link_name(name, path): path for name, path in names.items()}
    table = {name: path.name for name, path in names.items()}
    _drop_other_cameras(bench, table, numbered=bool(links))
    bench.run(_naming(bench, table, links))
    notes = []
    if links:
        *_, last = names
        held_out = f"{TEST_CAMERA} ({names[TEST_CAMERA].name})"
        notes = [f"{len(names)} {kind} named {TEST_CAMERA} to {last} ({NAMES_FILE}); {held_out} will be held out"]
    return {name: bench.root / _link_name(name, path) if links else path for name, path in names.items()}, notes


@contextmanager
def undone_where_refused(bench: Workbench) -> Iterator[None]:
    """Remove what a refused run made, if it also named the cameras: names without their cameras are of no use.

    Else a calibration that is there, or comes later, would be read with numbers that are not its own. The frames of
    cameras that have their own names stay for the next run.
    """
    try:
        yield
    except SceneError:
        made = {report.name for report in bench.reports if report.outcome == "done"}
        records = {name: bench.record(name) for name in bench.recorded()}
        undone = [name for name, record in records.items() if name in made or (record and not record.finished)]
        if STEP in undone:
            kept = () if _has_links(records[STEP]) else OF_A_CAMERA
            others = [name for name in undone if name != STEP and name.partition("_")[0] not in kept]
            for name in [*others, STEP]:
                bench.drop(name)
        raise


def renamed_cameras(root: Path) -> dict[str, str]:
    """Read the name of each camera's file or folder from `camera_names.json`; empty where that is not there."""
    try:
        table = read_json(root / NAMES_FILE)
    except (OSError, ValueError):
        return {}
    return {str(name): str(file) for name, file in table.items()} if isinstance(table, dict) else {}


def probe(path: Path) -> FrameSource:
    """Probe a camera's frames: a video, or the images of a folder called <number> or frame_<number>."""
    return probe_images(numbered_images(path) or named_frames(path)) if path.is_dir() else probe_video(path)


def _camera_paths(bench: Workbench, leave_out: Sequence[str]) -> tuple[list[Path], str]:
    """Videos, or where there are none folders with images, but for what preparations made and what is left out."""
    inside = {path.name: path for path in bench.root.iterdir() if not is_hidden(path)}
    unknown = sorted(set(leave_out) - set(inside))
    if unknown:
        raise SceneError(f"{bench.root}: {', '.join(unknown)} is to be left out, but is not there; check the name")
    made = {Path(name).parts[0] for name in bench.owned()} | {FOLDER, *leave_out}
    paths = sorted((path for name, path in inside.items() if name not in made), key=_order)
    videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        return videos, "videos"
    return [path for path in paths if path.is_dir() and visible_images(path)], "folders of images"


def _drop_other_cameras(bench: Workbench, table: Mapping[str, str], *, numbered: bool) -> None:
    """Remove what was made under numbers that are no longer right; numbered: the names are numbers that we gave."""
    earlier = bench.record(STEP)
    if earlier and earlier.options["names"] != table and (numbered or _has_links(earlier)):
        stale = [name for name in bench.recorded() if name != STEP]
    else:
        steps = [name for name in bench.recorded() if name.partition("_")[0] in OF_A_CAMERA]
        stale = [name for name in steps if name.partition("_")[2] not in table]
    for name in stale:
        bench.drop(name)


def _has_links(naming: Record | None) -> bool:
    return naming is not None and naming.outputs != [NAMES_FILE]


def _is_named(path: Path) -> bool:
    stems = [image.stem for image in visible_images(path)] if path.is_dir() else []
    is_numbered = all(map(str.isdecimal, stems)) or all(map(NAMED_FRAME.fullmatch, stems))
    return is_numbered and CAMERA_NAME.fullmatch(_stem(path)) is not None


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _link_name(name: str, path: Path) -> str:
    return name if path.is_dir() else f"{name}.mp4"


def _order(path: Path) -> list[Any]:
    return natural(path.name)


def _naming(bench: Workbench, table: Mapping[str, str], links: Mapping[str, Path]) -> PreparationStep:
    def make(scratch: Path) -> Any:
        for link, target in links.items():
            images = sorted(visible_images(target), key=_order) if target.is_dir() else []
            for number, image in enumerate(images):
                name = f"{link}/{number:06d}{image.suffix.lower()}"
                make_link(scratch / name, bench.root / name, image)
            if not images:
                make_link(scratch / link, bench.root / link, target)
        (scratch / NAMES_FILE).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    return PreparationStep(
        name=STEP,
        version=_VERSION,
        inputs=[bench.root / name for name in table.values()],
        options={"names": dict(table)},
        outputs=[NAMES_FILE, *links],
        make=make,
    )
