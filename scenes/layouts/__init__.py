"""The layouts of scene folders, one row each; docs/extending/layout.md adds one."""

from __future__ import annotations

from pathlib import Path

from scenes.layouts.n3v import N3V, VIDEOS
from scenes.layouts.spec import LayoutSpec, Preparation
from scenes.layouts.technicolor import TECHNICOLOR
from scenes.types import Scene, SceneError

LAYOUTS: dict[str, LayoutSpec] = {spec.name: spec for spec in (N3V, TECHNICOLOR)}
LOADERS: dict[str, LayoutSpec] = {spec.loader: spec for spec in LAYOUTS.values()}
PREPARATIONS: dict[str, Preparation] = {name: spec.preparation for name, spec in LAYOUTS.items()} | {"videos": VIDEOS}


def layout_named(name: str) -> LayoutSpec:
    """Find the row of a layout; SceneError naming all where there is none."""
    if name not in LAYOUTS:
        raise SceneError(f"layout {name!r} is unknown; use {' or '.join(LAYOUTS)}")
    return LAYOUTS[name]


def guess_layout(root: Path) -> str | None:
    """Name the layout that a folder looks like; None where it looks like none or several, or does not exist."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    alike = [spec.name for spec in LAYOUTS.values() if any(map(spec.is_like, names))]
    return alike[0] if len(alike) == 1 else None


def trained_frames(scene: Scene) -> int:
    """Count the frames, from the clip's start on, that a published expert of the scene was trained on."""
    return scene.footage_frames if layout_named(scene.layout).trained_on_footage else scene.num_frames
