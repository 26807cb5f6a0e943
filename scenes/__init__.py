"""Scenes: cameras, frames and split of multi-view videos."""

from scenes.frames.prefetch import Prefetcher
from scenes.load import load_scene, needed_views
from scenes.options import SceneOptions
from scenes.types import FrameStore, ResizeFilter, Scene, SceneError, View, ViewFrame

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
