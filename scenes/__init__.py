"""Scenes: cameras, frames and split of multi-view videos."""

from typing import TYPE_CHECKING

from common.deferred import names_of
from scenes.options import SceneOptions
from scenes.types import FrameStore, ResizeFilter, Scene, SceneError, View, ViewFrame

if TYPE_CHECKING:
    from scenes.frames.prefetch import Prefetcher
    from scenes.load import load_scene, needed_views

__all__ = [
    "FrameStore",
    "Prefetcher",
    "ResizeFilter",
    "Scene",
    "SceneError",
    "SceneOptions",
    "View",
    "ViewFrame",
    "load_scene",
    "needed_views",
]

__getattr__ = names_of(__name__, {"frames.prefetch": ["Prefetcher"], "load": ["load_scene", "needed_views"]})
