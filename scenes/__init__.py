"""What was filmed: cameras, frames and split of a multi-view video."""

from scenes.frames.prefetch import Prefetcher
from scenes.load import load_scene
from scenes.options import SceneOptions
from scenes.types import FrameStore, Layout, ResizeFilter, Scene, SceneError, View

__all__ = [
    "FrameStore",
    "Layout",
    "Prefetcher",
    "ResizeFilter",
    "Scene",
    "SceneError",
    "SceneOptions",
    "View",
    "load_scene",
]
