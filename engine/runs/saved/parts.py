"""The files and folders that a run or an expert consists of, which no command may replace by what it writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.runs.saved.checkpoint import saved_records
from engine.runs.saved.expert_records import find_place
from engine.runs.saved.seeds import runs_of
from engine.settings.parsing.paths import check_apart
from scenes import Scene

RESULTS = ("router", "experts", "test", "train", "point_cloud", "*/point_cloud", "*.json")


def results_in(folder: Path) -> list[Path]:
    """Files and folders of the training and the scores of a run, of all its seeds, or of an expert, in its folder."""
    return sorted(path for each in {folder, *runs_of(folder)} for name in RESULTS for path in each.glob(name))


def parts_of_run(save_path: Path, iteration: int | None, moved: Mapping[str, Path]) -> list[Path]:
    """Files and folders that a saved run is read from: its own, and the folders of its experts.

    moved: folders of experts by name, which are elsewhere than recorded. Of a folder that holds the run, too, or whose
    expert is a single file, the recorded files are meant.
    """
    parts = results_in(save_path)
    for record in saved_records(save_path, iteration):
        place = moved.get(record.name, find_place(record, save_path))
        if place is not None:
            around = save_path.resolve().is_relative_to(place.resolve())
            single = record.entry != "." and place.is_dir()
            parts += [place / name for name in record.files] if around or single else [place]
    return parts


def check_apart_from_scene(flag: str, path: Path, scene: Scene, *, save_path: Path) -> None:
    """Raises ConfigError where a folder would lie in the scene of a run, unless that run lies there itself."""
    if not save_path.resolve().is_relative_to(scene.root.resolve()):
        check_apart(flag, path, [scene.root], folder=True)
