"""What was filmed: cameras, frames and split of a multi-view video."""

from .load import load_scene
from .options import SceneOptions
from .prefetch import Prefetcher
from .types import FrameStore, Layout, ResizeFilter, Scene, SceneError, View

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
