"""From a scene folder to a Scene."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from common.suggestions import ranked
from scenes.frames.cache import FrameCache
from scenes.frames.cache_record import ViewFrames
from scenes.frames.resize import FILTERS, training_size
from scenes.layouts.calibration import fitted, rig_radius, scaled
from scenes.layouts.n3v import read_n3v
from scenes.layouts.poses_bounds import POSES
from scenes.layouts.rig_files import Footage
from scenes.layouts.technicolor import FILE_NAME, read_technicolor
from scenes.options import SceneOptions
from scenes.types import Layout, Scene, SceneError, View

logger = logging.getLogger(__name__)

READERS: dict[Layout, Callable[[Path, SceneOptions], Footage]] = {"n3v": read_n3v, "technicolor": read_technicolor}
DEFAULT_TEST_CAMERA: dict[Layout, str] = {"n3v": "cam00", "technicolor": "cam10"}
UNSYNCHRONISED = {"coffee_martini": "cam13"}  # scene -> camera known to be out of step with the others


def load_scene(source_path: Path, options: SceneOptions) -> Scene:
    """Read cameras, split and frames of a scene folder; decodes the needed views into the cache first.

    SceneError where anything is missing, damaged or does not fit.
    """
    root = Path(source_path)
    _check_folder(root, options)
    footage = READERS[options.layout](root, options)
    views = tuple(_view(name, footage, options) for name in footage.cameras)
    notes = [*footage.notes, *_size_notes(footage, views)]
    names = [view.name for view in views]
    test = _test_views(names, options, notes)
    train = tuple(index for index in range(len(views)) if index not in test)
    if not train:
        raise SceneError(f"{root}: all cameras ({', '.join(names)}) are held out; leave some for training")
    notes += _unsynchronised(root, [names[index] for index in train])
    frames = FrameCache(options.cache, _view_frames(footage, views, options), root=root, progress=options.progress)
    frames.prepare({"all": range(len(views)), "train": train, "test": test}[options.needed])
    return Scene(
        name=root.resolve().name,
        layout=options.layout,
        root=root,
        views=views,
        train=train,
        test=test,
        start=footage.clip.start,
        num_frames=footage.clip.count,
        footage_frames=footage.clip.available,
        frames=frames,
        rig_radius=rig_radius([views[index].camera for index in train]),
        notes=tuple(notes),
        memory_mb=options.memory_mb,
    )


def _check_folder(root: Path, options: SceneOptions) -> None:
    if options.layout not in READERS:
        raise SceneError(f"layout {options.layout!r} is unknown; use {' or '.join(READERS)}")
    if options.resize not in FILTERS:
        raise SceneError(f"resize filter {options.resize!r} is unknown; use {', '.join(FILTERS)}")
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        close = ranked(root.name, beside, 3)
        raise SceneError(f"{root}: no such folder; nearest beside it: {', '.join(close) or 'none'}")
    looks = guess_layout(root)
    if looks is not None and looks != options.layout:
        raise SceneError(f"{root}: looks like the {looks} layout, not {options.layout}; load it as {looks}")


def guess_layout(root: Path) -> Layout | None:
    """The layout a folder looks like, None where it looks like none or both, or does not exist."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    n3v = any(name == POSES or re.fullmatch(r"cam\d+(\.\w+)?", name) for name in names)
    technicolor = any(name == "cameras_parameters.txt" or FILE_NAME.fullmatch(Path(name).stem) for name in names)
    if n3v == technicolor:
        return None
    return "n3v" if n3v else "technicolor"


def _view(name: str, footage: Footage, options: SceneOptions) -> View:
    source = footage.sources[name]
    camera = fitted(name, footage.cameras[name], source.width, source.height)
    camera = scaled(camera, *training_size(source.width, source.height, options.resolution))
    number = int(re.sub(r"\D", "", name))
    return View(name=name, number=number, camera=replace(camera, world_to_camera=camera.world_to_camera.float()))


def _size_notes(footage: Footage, views: Sequence[View]) -> list[str]:
    notes = []
    first_of: dict[tuple[int, ...], str] = {}
    for view in views:
        source, calibrated = footage.sources[view.name], footage.cameras[view.name]
        sizes = (source.width, source.height, calibrated.width, calibrated.height)
        if first_of.setdefault(sizes, view.name) != view.name:
            continue
        frames = f"{source.width}x{source.height}"
        notes.append(f"frames of {frames} px, used at {view.camera.width}x{view.camera.height} ({view.name})")
        if sizes[:2] != sizes[2:]:
            notes.append(f"calibrated at {sizes[2]}x{sizes[3]} px, intrinsics scaled to {frames} ({view.name})")
    if len({sizes[:2] for sizes in first_of}) > 1:
        notes.append("cameras differ in frame size")
    return notes


def _test_views(names: Sequence[str], options: SceneOptions, notes: list[str]) -> tuple[int, ...]:
    if options.test_cameras is None:
        default = DEFAULT_TEST_CAMERA[options.layout]
        if default not in names:
            notes.append(f"there is no {default}: {names[0]} is held out instead")
        return (names.index(default) if default in names else 0,)
    unknown = [name for name in options.test_cameras if name not in names]
    if unknown:
        raise SceneError(f"test camera {', '.join(unknown)} does not exist; available: {', '.join(names)}")
    return tuple(sorted({names.index(name) for name in options.test_cameras}))


def _unsynchronised(root: Path, train: Sequence[str]) -> list[str]:
    notes = [
        f"{camera} of {scene} is not synchronised with the other cameras, and it is among the training views; "
        "remove its frames and its row of poses_bounds.npy to leave it out"
        for scene, camera in UNSYNCHRONISED.items()
        if scene in root.resolve().name and camera in train
    ]
    for note in notes:
        logger.warning("%s: %s", root, note)
    return notes


def _view_frames(footage: Footage, views: Sequence[View], options: SceneOptions) -> list[ViewFrames]:
    return [
        ViewFrames(
            name=view.name,
            source=footage.sources[view.name],
            start=footage.clip.start,
            count=footage.clip.count,
            width=view.camera.width,
            height=view.camera.height,
            resize=options.resize,
        )
        for view in views
    ]
