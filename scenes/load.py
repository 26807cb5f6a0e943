"""Loading a scene: from its folder to a Scene whose frames are in the cache."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from moegs_rasterizer import Camera

from common.text.suggestions import ranked
from common.text.units import GIGABYTE
from common.text.wording import counted, first_and_more
from scenes.calibration.cameras import centred, fitted, off_centre, rig_radius, same_poses, scaled
from scenes.frames.cache.bounded import BoundedCache
from scenes.frames.cache.record import ViewFrames
from scenes.frames.cache.whole import FrameCache
from scenes.frames.hdr import coding_notes, coding_warnings
from scenes.frames.image_files import NumberedImages, rotation_notes
from scenes.frames.resize import FILTERS, training_size
from scenes.frames.sources import FrameSource
from scenes.frames.video import Video
from scenes.layouts import guess_layout, layout_named
from scenes.layouts.n3v.frames import CAMERA_NAME
from scenes.layouts.spec import LayoutSpec, RigFiles
from scenes.options import Needed, SceneOptions
from scenes.types import FrameStore, Scene, SceneError, View

logger = logging.getLogger(__name__)

OFF_CENTRE_NOTED = 0.5  # px, of a principal point
_MOVED = "; if it was moved, give the new folder with --source_path"


def load_scene(source_path: Path, options: SceneOptions) -> Scene:
    """Read cameras, split and frames of a scene folder; decodes the needed views into the cache.

    SceneError where anything is missing, damaged or does not fit.
    """
    root = Path(source_path)
    layout = layout_named(options.layout)
    _check_folder(root, options)
    rig = _with_principal_points(layout.read(root, options), layout, options)
    numbers = _camera_numbers(root, rig)
    views = tuple(_view(name, number, rig, options) for name, number in numbers.items())
    notes = [*rig.notes, *_size_notes(rig, views), *coding_notes(_videos(rig))]
    names = [view.name for view in views]
    test = _test_views(root, names, options, notes)
    train = tuple(index for index in range(len(views)) if index not in test)
    if not train:
        raise SceneError(f"{root}: all cameras ({', '.join(names)}) are held out; leave some for training")
    warnings = [
        *_same_poses(views),
        *_enlarged(rig, views),
        *_image_warnings(rig),
        *coding_warnings(_videos(rig)),
        *layout.warnings(root, [names[index] for index in train]),
    ]
    for warning in warnings:
        logger.warning("%s: %s", root, warning)
    scene = Scene(
        name=root.resolve().name,
        layout=layout.name,
        root=root,
        views=views,
        train=train,
        test=test,
        start=rig.clip.start,
        num_frames=rig.clip.count,
        footage_frames=rig.clip.available,
        frames=_frame_store(root, _view_frames(rig, views, options), options),
        rig_radius=rig_radius([views[index].camera for index in train]),
        notes=(*notes, *warnings),
        memory_mb=options.memory_mb,
        frame_rate=_frame_rate(rig.sources[names[(*test, *train)[0]]]),
        sources={name: rig.sources[name] for name in names},
    )
    scene.frames.prepare(needed_views(scene, options.needed))
    return scene


def _frame_store(root: Path, views: Sequence[ViewFrames], options: SceneOptions) -> FrameStore:
    if options.cache_gb is None:
        return FrameCache(options.cache, views, root=root, progress=options.progress)
    if not 0 < options.cache_gb < math.inf:
        raise SceneError(f"--cache_gb is {options.cache_gb}: give a number of gigabytes above 0, or leave it out")
    limit = int(options.cache_gb * GIGABYTE)
    return BoundedCache(options.cache, views, root=root, limit=limit, progress=options.progress)


def needed_views(scene: Scene, needed: Needed) -> Sequence[int]:
    """List the indices of all views, of the training cameras, of the held-out cameras, or none."""
    return {"all": range(len(scene.views)), "train": scene.train, "test": scene.test, "none": ()}[needed]


def _videos(rig: RigFiles) -> dict[str, Video]:
    return {name: source for name, source in rig.sources.items() if isinstance(source, Video)}


def _frame_rate(source: FrameSource) -> Fraction | None:
    return source.timing.rate if isinstance(source, Video) and source.timing else None


def _check_folder(root: Path, options: SceneOptions) -> None:
    if options.resize not in FILTERS:
        raise SceneError(f"resize filter {options.resize!r} is unknown; use {', '.join(FILTERS)}")
    if not root.is_dir():
        beside = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        close = ranked(root.name, beside, 3)
        raise SceneError(f"{root}: no such folder; nearest beside it: {', '.join(close) or 'none'}{_MOVED}")
    looks = guess_layout(root)
    if looks is not None and looks != options.layout:
        loader = layout_named(looks).loader
        raise SceneError(
            f"{root}: looks like the {looks} layout, not {options.layout}; load it as {looks} (--loader {loader})"
        )


def _camera_numbers(root: Path, rig: RigFiles) -> dict[str, int]:
    """The digits of each camera's name: experts keep what they learned of a camera under its number.

    Cameras whose names do not have a number each, as GoPro-A and GoPro-B, are counted in their order.
    """
    digits = {name: re.sub(r"\D", "", name) for name in rig.cameras}
    if all(digits.values()) and len(set(map(int, digits.values()))) == len(digits):
        return {name: int(number) for name, number in digits.items()}
    seen: dict[int, str] = {}
    for name in filter(CAMERA_NAME.fullmatch, digits):
        number = int(digits[name])
        if number in seen:
            raise SceneError(
                f"{root}: camera {name} has the number of {seen[number]}; expected names with a number each, as cam00, "
                "cam01"
            )
        seen[number] = name
    return {name: index for index, name in enumerate(rig.cameras)}


def _with_principal_points(rig: RigFiles, layout: LayoutSpec, options: SceneOptions) -> RigFiles:
    """The rig with its principal points as the options ask, and a note where some are off the image centre."""
    offsets = {name: off_centre(camera) for name, camera in rig.cameras.items()}
    off = [name for name, offset in offsets.items() if offset > OFF_CENTRE_NOTED]
    if options.principal_points == "centred":
        note = f"principal points moved to the image centre: {', '.join(off)}"
        cameras = {name: centred(camera) for name, camera in rig.cameras.items()}
        return replace(rig, cameras=cameras, notes=(*rig.notes, note) if off else rig.notes)
    if not off or not layout.published_centred:
        return rig
    note = (
        f"principal points up to {max(offsets.values()):.1f} px off the image centre are kept ({first_and_more(off)}); "
        "the paper's code of 4DGaussians and Ex4DGS assumes the centre: for experts of that code, use "
        "--principal_points centred"
    )
    return replace(rig, notes=(*rig.notes, note))


def _view(name: str, number: int, rig: RigFiles, options: SceneOptions) -> View:
    source = rig.sources[name]
    camera = fitted(name, rig.cameras[name], source.width, source.height)
    camera = scaled(camera, *training_size(source.width, source.height, options.resolution))
    return View(name=name, number=number, camera=replace(camera, world_to_camera=camera.world_to_camera.float()))


def _size_notes(rig: RigFiles, views: Sequence[View]) -> list[str]:
    notes = []
    alike: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        sizes = tuple(_size(item) for item in (rig.sources[view.name], view.camera, rig.cameras[view.name]))
        alike.setdefault(sizes, []).append(view.name)
    for (recorded, used, calibrated), names in alike.items():
        whose = "all cameras" if len(alike) == 1 else first_and_more(names)
        resized = "" if recorded == used else f", resized to {used} px"
        notes.append(f"frames: {recorded} px{resized} ({whose})")
        if calibrated != recorded:
            notes.append(f"calibration at {calibrated} px, intrinsics scaled to {recorded} px ({whose})")
    if len({recorded for recorded, *_ in alike}) > 1:
        notes.append("cameras differ in frame size")
    return notes


def _same_poses(views: Sequence[View]) -> list[str]:
    pairs = same_poses({view.name: view.camera for view in views})
    if not pairs:
        return []
    (first, second), *others = pairs
    more = f", as {counted(len(others), 'more pair')}" if others else ""
    return [
        f"{first} and {second} have the same pose{more}, which two cameras cannot: correct one of them in the scene's "
        "calibration, or remove that camera from the scene"
    ]


def _enlarged(rig: RigFiles, views: Sequence[View]) -> list[str]:
    names = [view.name for view in views if view.camera.width > rig.sources[view.name].width]
    if not names:
        return []
    width, recorded = next(view.camera.width for view in views if view.name == names[0]), rig.sources[names[0]].width
    return [
        f"images are enlarged from {recorded} to {width} px width, which adds no detail ({first_and_more(names)}); "
        "use --resolution -1, or a smaller width"
    ]


def _image_warnings(rig: RigFiles) -> list[str]:
    images = {name: source for name, source in rig.sources.items() if isinstance(source, NumberedImages)}
    alpha = [name for name, source in images.items() if source.has_alpha]
    warnings = []
    if alpha:
        warnings.append(f"images have an alpha channel, composited on black ({first_and_more(alpha)})")
    return warnings + rotation_notes(rig.sources)


def _size(item: FrameSource | Camera) -> str:
    return f"{item.width}x{item.height}"


def _test_views(root: Path, names: Sequence[str], options: SceneOptions, notes: list[str]) -> tuple[int, ...]:
    layout = layout_named(options.layout)
    if options.test_cameras is None:
        if layout.test_camera not in names:
            notes.append(f"no camera {layout.test_camera}, so the first one, {names[0]}, is held out")
        return (names.index(layout.test_camera) if layout.test_camera in names else 0,)
    unknown = [name for name in options.test_cameras if name not in names]
    files = {key: name for name, file in layout.renamed(root).items() for key in (file, Path(file).stem)}
    if unknown and set(unknown) <= set(files):
        renamed = ", ".join(f"{name} is {files[name]}" for name in unknown)
        wanted = " ".join(files.get(name, name) for name in options.test_cameras)
        raise SceneError(f"{root}: {renamed} in this scene; give --test_cameras {wanted}")
    if unknown:
        raise SceneError(f"test camera {', '.join(unknown)} does not exist; available: {', '.join(names)}")
    return tuple(sorted({names.index(name) for name in options.test_cameras}))


def _view_frames(rig: RigFiles, views: Sequence[View], options: SceneOptions) -> list[ViewFrames]:
    return [
        ViewFrames(
            name=view.name,
            source=rig.sources[view.name],
            start=rig.clip.start,
            count=rig.clip.count,
            width=view.camera.width,
            height=view.camera.height,
            resize=options.resize,
        )
        for view in views
    ]
