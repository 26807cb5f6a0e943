"""Recognition of a folder that was given to the wrong expert, or one level too deep or too high."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from common.disk.aside import is_set_aside
from common.text.wording import shell
from experts.base import CheckpointError
from experts.formats.columns import GAUSSIAN
from experts.formats.folders import find_iteration
from experts.formats.ply import read_column_names
from experts.spec import ExpertSpec
from experts.windows.folders import windows_below

_TABLE = "point_cloud.ply"  # of every expert
_CLOUDS, _ITERATION = "point_cloud", "iteration_"  # folders of every expert


def require_own_files(
    spec: ExpertSpec,
    path: Path,
    iteration: int | None,
    *,
    experts: Collection[ExpertSpec],
    argument_of: Callable[[str], str],
) -> None:
    """Raise CheckpointError where a folder's files look like another expert's, naming the argument to give it to.

    iteration: to be read, None for the highest. argument_of: by the expert's name. Files that are missing are the
    loader's to name.
    """

    def mistaken(where: Path, owner: ExpertSpec, detail: str = "") -> CheckpointError:
        hint = f"{spec.name} expected; give it to {argument_of(owner.name)}"
        return CheckpointError(f"{where}: looks like {owner.name}{detail}, {hint}")

    segments = _segments(path, experts)
    if segments and spec.segments is None:
        raise mistaken(path, segments[0], " (a folder of segments)")
    tables = _tables([path / name for name in segments[1]] if segments else _models(path), iteration)
    owner = None if tables else _owner_of_checkpoints(path, experts)
    if owner is not None and owner.pictures and owner.name != spec.name:
        raise mistaken(path, owner, " (pictures of cameras)")
    for table in tables:
        names = read_column_names(table)
        owner = owner_of(names, experts)
        if owner is None:
            listed = ", ".join(names[:4])
            raise CheckpointError(
                f"{table}: no expert's Gaussians (columns {listed}, ...), {spec.name} expected; check the path"
            )
        if owner.name != spec.name:
            raise mistaken(table, owner)


def model_folder(path: Path, iteration: int | None, *, experts: Collection[ExpertSpec]) -> Path:
    """The model's folder that a path means: itself, else the folder above or below that holds the one model.

    Above: of MODEL/point_cloud and of MODEL/point_cloud/iteration_N. iteration: to be read, None for the highest.
    Raises CheckpointError where another iteration than N would be read, and where several models lie below.
    """
    place = path.absolute()
    if place.name == _CLOUDS and place.is_dir():
        return place.parent
    if place.parent.name == _CLOUDS and place.name.startswith(_ITERATION) and place.is_dir():
        model = place.parent.parent
        if find_iteration(model, iteration)[1] != place:
            number = place.name.removeprefix(_ITERATION)
            raise CheckpointError(
                f"{path}: one iteration of a model; give {shell(model)} and --load_iteration {number}"
            )
        return model
    if not path.is_dir() or _is_model(path, experts):
        return path
    folders = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not is_set_aside(entry)]
    models = [folder for folder in folders if _is_model(folder, experts)]
    if len(models) > 1:
        listed = ", ".join(model.name for model in models[:4]) + (", …" if len(models) > 4 else "")
        raise CheckpointError(f"{path}: holds {len(models)} models ({listed}); give the folder of one of them")
    return models[0] if models else path


def expert_of_folder(path: Path, iteration: int | None, *, experts: Collection[ExpertSpec]) -> ExpertSpec | None:
    """The expert whose model a folder holds, by its segments or by the columns of its PLY file; None if not known.

    iteration: to be read, None for the highest. Raises CheckpointError where the folder holds several models.
    """
    folder = _models(model_folder(path, iteration, experts=experts))[0]
    segments = _segments(folder, experts)
    if segments:
        return segments[0]
    if not (folder / _CLOUDS).is_dir() and (owner := _owner_of_checkpoints(folder, experts)):
        return owner
    tables = _tables([folder], iteration)
    return owner_of(read_column_names(tables[0]), experts) if tables else None


def _is_model(folder: Path, experts: Collection[ExpertSpec]) -> bool:
    return (
        (folder / _CLOUDS).is_dir()
        or _owner_of_checkpoints(folder, experts) is not None
        or _segments(folder, experts) is not None
        or windows_below(folder) != ()
    )


def _models(path: Path) -> list[Path]:
    """The folders of the windows of an expert, else its own."""
    return [path / window.name for window in windows_below(path)] or [path]


def _owner_of_checkpoints(folder: Path, experts: Collection[ExpertSpec]) -> ExpertSpec | None:
    """The expert of a file in a folder that holds a model by itself."""
    return next((spec for spec in experts if any(any(folder.glob(name)) for name in spec.checkpoints)), None)


def owner_of(columns: Collection[str], experts: Collection[ExpertSpec]) -> ExpertSpec | None:
    """The expert whose signature some columns have; one that adds no column to 3DGS's only where no other has."""
    owners = [spec for spec in experts if any(name in columns for name in spec.signature)]
    return min(owners, key=lambda spec: spec.signature[0] in GAUSSIAN, default=None)


def _segments(path: Path, experts: Collection[ExpertSpec]) -> tuple[ExpertSpec, list[str]] | None:
    """The expert whose segments a folder without a model of its own holds, and their names."""
    if (path / _CLOUDS).exists():
        return None
    for spec in experts:
        names = [] if spec.segments is None else spec.segments.names(path)
        if names:
            return spec, names
    return None


def _tables(folders: list[Path], iteration: int | None) -> list[Path]:
    """The PLY files of those folders that hold a model of the iteration."""
    tables = []
    for folder in folders:
        try:
            tables.append(find_iteration(folder, iteration)[1] / _TABLE)
        except CheckpointError:
            continue
    return [table for table in tables if table.is_file()]
