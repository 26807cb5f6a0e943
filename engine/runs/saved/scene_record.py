"""A scene as a router's checkpoint records it, and the comparison of one that a run is opened with."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from moegs_rasterizer import Camera

from common.text.wording import first_and_more
from engine.errors import ConfigError
from engine.runs.run import Run
from scenes import Scene
from scenes.frames.sources import FrameSource

logger = logging.getLogger(__name__)

_ZERO = 1e-9  # numbers of cameras below it are rounding errors
_SAMPLE = 1 << 16  # bytes of a file's beginning and end


def scene_facts(run: Run) -> dict[str, Any]:
    """Facts of the training scene that a router's checkpoint records."""
    scene = run.scene
    return {
        "name": scene.name,
        "layout": scene.layout,
        "start": scene.start,
        "num_frames": scene.num_frames,
        "train": [scene.views[view].name for view in scene.train],
        "router": [scene.views[view].name for view in scene.router],
        "test": [scene.views[view].name for view in scene.test],
        "sizes": {view.name: [view.camera.width, view.camera.height] for view in scene.views},
        "cameras": {view.name: camera_hash(view.camera) for view in scene.views},
        "footage": {name: _footage_bytes(source, scene) for name, source in scene.sources.items()},
    }


def _footage_bytes(source: FrameSource, scene: Scene) -> int:
    """Bytes of the files of a camera's frames: another video has another number.

    Files that went away since the start, once they were decoded, count as empty: a save does not fail for them.
    """
    files = source.files(scene.start, scene.num_frames)
    return sum(path.stat().st_size for path in files if path.is_file())


def scene_marks(scene: Scene) -> dict[str, str]:
    """Short hashes of the training cameras and of their files, by which a scene is known again wherever it lies.

    Of files the number of bytes counts, and the beginning and the end of the first one: images without compression have
    the same size whatever they show.
    """
    views = [scene.views[index] for index in scene.train]
    cameras = [f"{view.name} {camera_hash(view.camera)}" for view in views]
    sources = {view.name: scene.sources[view.name] for view in views if view.name in scene.sources}
    footage = [f"{name} {_footage_mark(source, scene)}" for name, source in sources.items()]
    return {"cameras": _short_hash(cameras), "footage": _short_hash(footage)}


def _footage_mark(source: FrameSource, scene: Scene) -> str:
    with source.files(scene.start, scene.num_frames)[0].open("rb") as file:
        beginning = file.read(_SAMPLE)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _SAMPLE))
        return f"{_footage_bytes(source, scene)} {hashlib.sha256(beginning + file.read()).hexdigest()}"


def _short_hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def camera_hash(camera: Camera) -> str:
    """A hash of a camera's pose and lens that does not depend on the resolution; six digits of each number count."""
    lens = [camera.fx / camera.width, camera.fy / camera.height, camera.cx / camera.width, camera.cy / camera.height]
    numbers = [*lens, *camera.world_to_camera.double().flatten().tolist()]
    text = " ".join(f"{number:.5e}" if abs(number) > _ZERO else "0" for number in numbers)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same_scene(recorded: Mapping[str, Any], run: Run) -> None:
    """Raises ConfigError where the clip is another than the router's: its time would run differently.

    recorded: of a checkpoint. Warns of other cameras: images of them are right only if the scene's cameras were mended
    since.
    """
    facts = scene_facts(run)
    for key in ("start", "num_frames"):
        if facts[key] != recorded[key]:
            raise ConfigError(
                f"{run.scene.root}: {key} is {facts[key]}, the router was trained with {recorded[key]}; "
                "give the same clip with --start_timestamp, --end_timestamp and --duration"
            )
    before, now = sorted(recorded.get("router", [])), sorted(facts["router"])
    if before != now:
        raise ConfigError(
            f"{run.scene.root}: --router_cameras gives {', '.join(now) or 'none'}, and the router was trained with "
            f"{', '.join(before) or 'none'}; give the scene and the poses of its training"
        )
    if changed := other_cameras(recorded, run):
        logger.warning(
            "%s: other cameras than the router was trained with (%s): poses or principal points were changed since",
            run.scene.root,
            first_and_more(changed),
        )
    if replaced := other_footage(recorded, run):
        logger.warning(
            "%s: other footage than the router was trained with (%s): scores compare with other images",
            run.scene.root,
            first_and_more(replaced),
        )


def other_cameras(recorded: Mapping[str, Any], run: Run) -> list[str]:
    """The views whose cameras are not those of a router's training; none for checkpoints that do not record them."""
    known = recorded.get("cameras", {})
    return [name for name, value in scene_facts(run)["cameras"].items() if known.get(name, value) != value]


def other_footage(recorded: Mapping[str, Any], run: Run) -> list[str]:
    """The views whose files are not those of a router's training; none for checkpoints that do not record them."""
    known = recorded.get("footage", {})
    return [name for name, value in scene_facts(run)["footage"].items() if known.get(name, value) != value]
