"""Structure from motion that finds what it is told, a process that dies, and what a folder holds."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moegs_rasterizer import Camera

from scenes.preparation.options import PrepareOptions, VideosOptions
from scenes.preparation.sfm.attempts import NoPointsError
from scenes.preparation.sfm.clouds import LIMITS
from scenes.preparation.sfm.models import Sfm
from tests.scenes.scene_folders import write_colmap_model, write_poses_bounds
from tests.scenes.small_rigs import write_points3d


@dataclass(kw_only=True)
class Settings:
    """Options of the stand-in."""

    quality: int = 1
    accept_poor: bool = False
    threads: int = 1
    progress: bool = False


@dataclass(kw_only=True)
class Report:
    cameras: int
    registered: int
    points: int
    median_error: float
    tried: tuple[str, ...]


@dataclass
class StandIn:
    """Counts its calls; `rig` is what mapping finds; raises at call number `dies_at` after half its work.

    empty: names of models in which no points are found.
    """

    rig: Mapping[str, Camera] = field(default_factory=dict)
    empty: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)
    dies_at: int | None = None

    def sfm(self) -> Sfm:
        return Sfm(
            triangulated=self.triangulated,
            mapped=self.mapped,
            write_clouds=self.write_clouds,
            poses_bounds_from=self.poses_bounds_from,
        )

    def triangulated(self, images: Mapping[str, Path], cameras: Mapping[str, Camera], target: Path, _: Any) -> Report:
        assert images.keys() == cameras.keys()
        return self._model("triangulated", images, cameras, target)

    def mapped(self, images: Mapping[str, Path], target: Path, _: Any) -> Report:
        return self._model("mapped", images, self.rig, target)

    def write_clouds(self, models: Sequence[Path], scene: Path) -> dict[str, int]:
        assert all((model / "points3D.bin").is_file() for model in models)
        for number, name in enumerate(LIMITS):
            (scene / name).write_bytes(b"ply" * (3 - number))
            self._called(name)
        return {name: 3 - number for number, name in enumerate(LIMITS)}

    def poses_bounds_from(self, model: Path, target: Path) -> None:
        self._called("poses")
        write_poses_bounds(target, list(self.rig.values()))

    def _model(self, kind: str, images: Mapping[str, Path], cameras: Mapping[str, Camera], target: Path) -> Report:
        (target / "images").mkdir(parents=True)
        for name, path in images.items():
            shutil.copyfile(path, target / "images" / f"{name}.png")
        self._called(f"{kind} {target.name}")
        if target.name in self.empty:
            raise NoPointsError(f"{target}: too poor: 0 points")
        write_colmap_model(target / "sparse" / "0", dict(cameras))
        (target / "sparse" / "0" / "points3D.txt").unlink()
        write_points3d(target / "points", np.arange(36.0).reshape(12, 3))
        os.replace(target / "points" / "points3D.bin", target / "sparse" / "0" / "points3D.bin")
        (target / "points").rmdir()
        return Report(cameras=len(images), registered=len(cameras), points=12, median_error=0.5, tried=("once: 12",))

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.dies_at == len(self.calls):
            raise Killed


class Killed(BaseException):
    """The process died."""


@contextmanager
def killed_at(patch: pytest.MonkeyPatch, operation: int) -> Iterator[list[tuple[str, Path]]]:
    """The process dies at this change of the disk, counted from 0: nothing later, no cleaning up either, is done.

    Yields the changes that were tried: the operation and the path that it changes.
    """
    tried: list[tuple[str, Path]] = []

    def dying(name: str, act: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            tried.append((name, Path(args[1 if name in ("replace", "symlink") else 0])))
            if len(tried) > operation:
                raise Killed
            return act(*args, **kwargs)

        return wrapped

    with patch.context() as inner:
        for owner, name in ((os, "replace"), (os, "symlink"), (Path, "write_text"), (Path, "unlink"), (Path, "mkdir")):
            inner.setattr(owner, name, dying(name, getattr(owner, name)))
        inner.setattr(shutil, "rmtree", dying("rmtree", shutil.rmtree))
        yield tried


def one_of_every_kind(tried: Sequence[tuple[str, Path]], root: Path) -> list[int]:
    """The first change of every kind, by its number among all changes of a run.

    Changes are of one kind where the operation is the same and the paths differ in numbers only (cam00, cam01). Within
    scratch folders and files, which every run begins by throwing away, all paths are one.
    """
    kinds: dict[tuple[str, str], int] = {}
    for number, (operation, path) in enumerate(tried):
        parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
        is_scratch = parts[:2] == ("preparation", "unfinished") or path.name.startswith(".")
        kinds.setdefault((operation, "scratch" if is_scratch else re.sub(r"\d+", "#", "/".join(parts))), number)
    return list(kinds.values())


def contents(root: Path) -> dict[str, bytes | str]:
    """All files below a folder but the records of preparations; links by what they lead to."""
    return {
        path.relative_to(root).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.relative_to(root).parts[0] != "preparation"
    }


def options(**changed: Any) -> PrepareOptions:
    return PrepareOptions(**{"sfm": Settings(), "progress": False, **changed})


def videos_options(**changed: Any) -> VideosOptions:
    return VideosOptions(**{"sfm": Settings(), "progress": False, **changed})


def outcomes(report: Any) -> dict[str, str]:
    return {step.name: step.outcome for step in report.steps}
