"""The scene of a run as the settings cut it: found, read, checked, and its frames decoded."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from common import ranks
from common.text.wording import counted
from engine.checks.footage import warn_of_headers
from engine.errors import ConfigError
from engine.settings.training.data_checks import check_data
from engine.settings.training.run import DataConfig, RunConfig
from router import Ensemble
from scenes import Scene, SceneOptions, load_scene, with_router_cameras
from scenes.frames.cache.record import FOLDER as CACHE_FOLDER
from scenes.layouts import LOADERS, guess_layout
from scenes.options import DEFAULT_LAYOUT

logger = logging.getLogger(__name__)

OWN_CACHE = "cache"  # below the folder of the results
ELSEWHERE = "give a folder for decoded frames with --cache_path"

CheckScene = Callable[[Scene], object]


def any_scene(scene: Scene) -> None:
    """A check of a scene of which nothing special is asked."""


def open_scene(config: RunConfig, ensemble: Ensemble) -> Scene:
    """The scene as the settings cut it, no frame decoded yet; its notes go to the log."""
    data, save_path = config.data, config.output.save_path
    if data.source_path is None or save_path is None:
        raise ConfigError("--source_path and --save_path are needed to open a scene: give both")
    looks = ensemble.layout or guess_layout(data.source_path) or DEFAULT_LAYOUT
    layout = LOADERS[data.loader].name if data.loader else looks
    return read_scene(data, data.source_path, layout=layout, results=save_path, quiet=config.machine.quiet)


def read_scene(data: DataConfig, source: Path, *, layout: str, results: Path, quiet: bool = False) -> Scene:
    """The scene of a folder as the settings cut it, no frame decoded yet; its notes go to the log.

    results: the command's folder, for frames that cannot be kept with the scene.
    """
    check_data(data)
    options = SceneOptions(
        cache=cache_folder(data, source, results),
        layout=layout,
        resolution=data.resolution,
        resize=data.resize_filter,
        principal_points=data.principal_points,
        start=data.start_timestamp,
        end=data.end_timestamp,
        duration=data.duration,
        test_cameras=data.test_cameras,
        needed="none",
        cache_gb=data.cache_gb,
        memory_mb=data.cache_mb,
        progress=not quiet,
    )
    scene = with_router_cameras(load_scene(source, options), data.router_cameras)
    logger.info(
        "scene %s: %s (%d to %d), %s, held-out camera%s: %s",
        scene.name,
        counted(scene.num_frames, "frame"),
        scene.start,
        scene.start + scene.num_frames - 1,
        counted(len(scene.train), "training camera"),
        "" if len(scene.test) == 1 else "s",
        ", ".join(scene.views[view].name for view in scene.test),
    )
    if scene.router:
        names = ", ".join(scene.views[view].name for view in scene.router)
        logger.info("  left to the router: %s (--router_cameras %d)", names, len(scene.router))
    for note in scene.notes:
        logger.info("  %s", note)
    warn_of_headers(scene)
    return scene


def decode(scene: Scene, views: Iterable[int]) -> None:
    """Makes sure that the frames of views are in the cache: rank 0 decodes, and the other ranks find its files.

    A rank of another machine with a disk of its own decodes there, once for all ranks of the machine.
    """
    with ranks.first_then_others():
        scene.frames.prepare(views)


def cache_folder(data: DataConfig, source: Path, results: Path) -> Path:
    """The folder of a scene's decoded frames: --cache_path, else one in the scene's folder that all commands share.

    Where that cannot be written it is `cache` in the folder of the results, and a line in the log says so. ConfigError
    where that cannot be made either, and where the one in the scene's folder is a link: a scene does not choose
    where files are replaced.
    """
    if data.cache_path is not None:
        return data.cache_path
    if keeps_frames(source):
        return source / CACHE_FOLDER
    own = results / OWN_CACHE
    parent = next(path for path in own.absolute().parents if path.exists())
    if not own.is_dir() and not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise ConfigError(f"{source / CACHE_FOLDER}: cannot be written, and {own} cannot be made; {ELSEWHERE}")
    logger.info("%s cannot be written: decoded frames go to %s", source / CACHE_FOLDER, own)
    return own


def keeps_frames(source: Path) -> bool:
    """True where decoded frames can be written to a scene's folder; ConfigError where a link is in their place."""
    shared = source / CACHE_FOLDER
    if shared.is_symlink():
        raise ConfigError(f"{shared}: is a link to {os.readlink(shared)}; if you made it, give --cache_path {shared}")
    return not source.is_dir() or os.access(shared if shared.exists() else source, os.W_OK)
