"""Records of the files a run's experts were read from: by content, to recognise them later and copy them along."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.disk.contained import below
from common.disk.files import files_hash, replacing
from common.disk.moved import along, way_from
from engine.errors import ConfigError
from experts.base import CheckpointError, Expert
from experts.formats.cfg_args import CFG_ARGS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertRecord:
    """One expert of a checkpoint: its folder, the number of rows of its table, and its files by content."""

    name: str
    folder: str  # absolute
    entry: str  # what was loaded below it: ".", or a file's name
    iteration: int
    gaussians: int
    files: dict[str, str]  # path below the folder -> hash
    beside: str | None = None  # the folder from the run's own, for trees moved as a whole; None in older files

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> ExpertRecord:
        """Read an entry of router.json; OutsideError where a name in it leads out of its folder."""
        record = cls(**entry)
        for name in (record.name, *record.files, *(() if record.entry == "." else (record.entry,))):
            below(Path(record.folder) / "models", name)  # by the name alone: links are the owner's affair
        Path(record.beside or "")  # TypeError where it is no text
        return record

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def record_expert(expert: Expert, folder: Path, *, save_path: Path) -> ExpertRecord:
    """Hashes the files an expert was read from, and the cfg_args that steered the reading; save_path: the run's."""
    given = folder.absolute()
    root = given if given.is_dir() else given.parent
    files = {path.absolute() for path in expert.provenance.files}
    files |= {parent / CFG_ARGS for path in files for parent in path.parents if parent.is_relative_to(root)}
    present = sorted(path for path in files if path.is_file())
    return ExpertRecord(
        name=expert.name,
        folder=str(root),
        entry="." if given == root else given.name,
        iteration=expert.provenance.iteration,
        gaussians=expert.num_gaussians,
        files={str(path.relative_to(root)): files_hash([path]) for path in present},
        beside=way_from(save_path, root),
    )


def bundle_expert(record: ExpertRecord, save_path: Path) -> Path:
    """Copies an expert's files below `<save_path>/experts/`; returns the folder that loads like the original."""
    target = bundle_folder(record, save_path)
    for name in record.files:
        with replacing(target / name) as temporary:
            shutil.copyfile(Path(record.folder) / name, temporary)
    return target


def bundle_folder(record: ExpertRecord, save_path: Path) -> Path:
    """The folder of an expert in a bundle; its own name stays, because segments are named after it."""
    return save_path / "experts" / record.name / Path(record.folder).name


def find_place(record: ExpertRecord, save_path: Path) -> Path | None:
    """The folder where an expert of a run lies; None where there is none.

    In its bundle, else where it lay beside the run, else where it was: the first that has the recorded files. So a tree
    of runs and experts is moved or copied as a whole, and a run is moved alone. Without the recorded files anywhere,
    the first folder that exists.
    """
    beside = [] if record.beside is None else [along(save_path, record.beside)]
    places = dict.fromkeys([bundle_folder(record, save_path), *beside, Path(record.folder)])
    there = [place for place in places if place.is_dir()]
    if len(there) > 1:
        return next((place for place in there if changed_file(record, place) is None), there[0])
    return there[0] if there else None


def find_expert(record: ExpertRecord, *, given: Path | None, save_path: Path, argument: str) -> Path:
    """The folder to load an expert of a checkpoint from: the given one, else the one of `find_place`.

    Raises ConfigError where there is none, CheckpointError naming the file where one is missing or changed: the
    router's rows belong to exactly those Gaussians.
    """
    root = find_place(record, save_path) if given is None else given if given.is_dir() else given.parent
    if root is None or (given is not None and not given.exists()):
        raise ConfigError(
            f"{given or record.folder}: the {record.name} model is not there any more; say where with {argument}"
        )
    changed = changed_file(record, root)
    if changed is not None and not changed.is_file():
        told = "the folder above all windows of that model" if _is_of_window(root, changed) else "that model"
        raise CheckpointError(f"{changed}: missing; the router was trained with it, give {told} with {argument}")
    if changed is not None:
        raise CheckpointError(
            f"{changed}: changed since the router was trained with it; give the old one with {argument}, or train again"
        )
    return root / record.entry


def _is_of_window(root: Path, path: Path) -> bool:
    return path.relative_to(root).parts[0].startswith("window_")


def changed_file(record: ExpertRecord, root: Path) -> Path | None:
    """The first file of a record that is missing below a folder, or changed since; None where none is."""
    paths = ((root / name, expected) for name, expected in record.files.items())
    return next((path for path, known in paths if not path.is_file() or files_hash([path]) != known), None)


def recorded_iteration(record: ExpertRecord) -> int | None:
    """The iteration to load so that the recorded files are read; None where its segments have different ones."""
    iterations = {part for name in record.files for part in Path(name).parts if part.startswith("iteration_")}
    return record.iteration if len(iterations) <= 1 else None


def require_same_files(record: ExpertRecord, loaded: ExpertRecord, argument: str) -> None:
    """Raises CheckpointError where other files were loaded than the recorded ones: newer iterations beside them."""
    if loaded.files != record.files:
        other = sorted(set(loaded.files) ^ set(record.files))
        raise CheckpointError(
            f"{loaded.folder}: {record.name} was read from other files than the router was trained with "
            f"({', '.join(other[:3])}); give the old model with {argument}"
        )
