"""Rows of the table of layouts: how a kind of scene folder is recognised, read and prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moegs_rasterizer import Camera

from scenes.frames.clip import Clip
from scenes.frames.sources import FrameSource
from scenes.options import SceneOptions
from scenes.preparation.options import PrepareOptions
from scenes.preparation.report import PrepareReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RigFiles:
    """Cameras and frame sources found in a scene's folder, both by camera name and with the same names."""

    cameras: Mapping[str, Camera]  # at the size they were calibrated for
    sources: Mapping[str, FrameSource]
    clip: Clip
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A way to prepare scenes: what it can be told, and the function that runs it on a folder."""

    options: type[PrepareOptions]
    run: Callable[..., PrepareReport]  # the scene's folder, options


def no_warnings(root: Path, train: Sequence[str]) -> list[str]:
    """Warn of nothing."""
    return []


def none_renamed(root: Path) -> dict[str, str]:
    """Give no other names of cameras."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSpec:
    """A kind of scene folder."""

    name: str  # in Scene.layout, and after `moegs.py prepare`
    loader: str  # after --loader, as upstream calls it
    title: str  # for people
    test_camera: str  # held out where nothing else is asked for
    read: Callable[[Path, SceneOptions], RigFiles]
    is_like: Callable[[str], bool]  # True for names of files and folders that tell such a scene from others
    preparation: Preparation
    trained_on_footage: bool  # published experts saw all frames of the files, however short a run's clip; else the clip
    published_centred: bool = False  # published experts take every principal point for the image centre
    warnings: Callable[[Path, Sequence[str]], list[str]] = no_warnings  # scene's folder, names of training cameras
    renamed: Callable[[Path], Mapping[str, str]] = none_renamed  # scene's folder -> camera name -> name of its file
