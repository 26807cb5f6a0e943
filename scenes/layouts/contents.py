"""Contents of a folder in which no frames were found, and the command or the renaming that helps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from common.text.wording import counted, script_command
from scenes.calibration.poses_bounds import POSES
from scenes.frames.cache.record import FOLDER as CACHE_FOLDER
from scenes.frames.image_files import IMAGE_SUFFIXES, images_of
from scenes.frames.video import VIDEO_SUFFIXES
from scenes.preparation.steps import FOLDER as PREPARATION_FOLDER
from scenes.types import SceneError

SYSTEM_FILES = ("thumbs.db", "desktop.ini")
SCENE_FILE = re.compile(r"poses_bounds\.npy|cameras_parameters\.txt|cam\d+(\.\w+)?|.*_undist_\d+_\d+\.\w+")
OWN_FOLDERS = (PREPARATION_FOLDER, CACHE_FOLDER)  # below a scene's folder, made by commands
NAMED = 3  # entries, before "and N more"


def is_hidden(path: Path) -> bool:
    """Tell whether an operating system wrote a file for itself: `._cam00.png`, `.DS_Store`, `Thumbs.db`."""
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def visible_images(folder: Path) -> list[Path]:
    """List the image files directly inside a folder, sorted by name, without hidden ones."""
    return [path for path in images_of(folder) if not is_hidden(path)]


def no_frames(root: Path, looked_for: Sequence[str], layout: str) -> SceneError:
    """Give the error of a folder without frames: the patterns looked for, what is there, and what to do."""
    wanted = f"{', '.join(looked_for)} ({layout} layout)"
    return SceneError(f"{root}: no frames found; looked for {wanted}; {_advice(root)}")


def _advice(root: Path) -> str:
    entries = sorted(path for path in root.iterdir() if not is_hidden(path) and path.name not in OWN_FOLDERS)
    folders = [path for path in entries if path.is_dir()]
    command = script_command("moegs.py", "prepare", "videos", root)
    if not entries:
        return "the folder is empty"
    if videos := [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES]:
        there = f"there are {_listed(videos, 'video')}"
        if (root / POSES).is_file():
            kept = f"rename them cam00{videos[0].suffix}, … in the order of the rows of {POSES}"
            return f"{there}, which are not named camXX: {kept}, or move that file away and run: {command}"
        return f"{there}: for videos of other names run: {command}"
    if (root / "sparse").is_dir() and (root / "images").is_dir() and (images := visible_images(root / "images")):
        suffix = images[0].suffix
        return (
            f"images/ beside sparse/ holds {_listed(images, 'image')} of one frame, as COLMAP has it: put the image of "
            f"each camera into a folder of its name, as cam00/000000{suffix}, and keep sparse/"
        )
    if scenes := [path for path in folders if _is_like_scene(path)]:
        return f"it holds {_listed(scenes, 'scene')}: give the folder of one scene"
    if cameras := [path for path in folders if visible_images(path)]:
        return f"there are {_listed(cameras, 'folder')} with images: to take each as a camera run: {command}"
    if images := [path for path in entries if path.suffix.lower() in IMAGE_SUFFIXES]:
        renaming = "put those of each camera into a folder, as cam00/000000.png"
        return f"there are {_listed(images, 'image')}: {renaming}"
    return f"no video or image is there, but {_listed(entries, 'other')}; give the folder that holds videos or images"


def _is_like_scene(folder: Path) -> bool:
    return any(SCENE_FILE.fullmatch(path.name) for path in folder.iterdir())


def _listed(paths: Sequence[Path], noun: str) -> str:
    """ "5 videos (a.mp4, b.mp4, c.mp4 and 2 more)" """
    rest = len(paths) - NAMED
    names = ", ".join(path.name for path in paths[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{counted(len(paths), noun)} ({names})"
