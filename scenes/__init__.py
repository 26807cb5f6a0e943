"""Scenes: cameras, frames and split of multi-view videos."""

from typing import TYPE_CHECKING

from common.deferred import names_of
from scenes.options import SceneOptions
from scenes.types import FrameStore, ResizeFilter, Scene, SceneError, View, ViewFrame

if TYPE_CHECKING:
    from scenes.frames.prefetch import Prefetcher
    from scenes.load import load_scene, needed_views
    from scenes.router_cameras import with_router_cameras

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
    "with_router_cameras",
]

__getattr__ = names_of(
    __name__,
    {
        "frames.prefetch": ["Prefetcher"],
        "load": ["load_scene", "needed_views"],
        "router_cameras": ["with_router_cameras"],
    },
)
