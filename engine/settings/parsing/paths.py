"""Checks of the paths that a command is given, before it does anything: an error names the flag that gave the path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile

from common.text.suggestions import ranked
from common.text.wording import shell
from engine.errors import ConfigError
from experts import EXPERTS, TRAINABLE, ExpertSpec

_NEAREST = 3  # names of what is there
_ENDINGS = {Path(name).suffix for spec in EXPERTS.values() if not spec.pictures for name in spec.checkpoints}


def check_folder(flag: str, path: Path | None) -> None:
    """Raises ConfigError where a path that is given leads to no folder. flag: "--source_path", or a metavar."""
    if path is None or os.path.isdir(path):
        return
    if os.path.exists(path):
        raise ConfigError(f"{shell(flag, path)}: is a file; give a folder")
    raise ConfigError(f"{shell(flag, path)}: no such folder; nearest beside it: {_beside(path, folders=(True,))}")


def check_file(flag: str, path: Path | None, *, or_folder: bool = False) -> None:
    """Raises ConfigError where a path that is given leads to no file. or_folder: a folder will do, too."""
    if path is None or os.path.isfile(path) or (or_folder and os.path.isdir(path)):
        return
    if os.path.isdir(path):
        raise ConfigError(f"{shell(flag, path)}: is a folder; give a file")
    kinds, folders = ("file or folder", (True, False)) if or_folder else ("file", (False,))
    raise ConfigError(f"{shell(flag, path)}: no such {kinds}; nearest beside it: {_beside(path, folders=folders)}")


def check_target(flag: str, path: Path | None, *, file: bool = False) -> None:
    """Raises ConfigError where a folder that is given, or a file, cannot be written to or made."""
    if path is None:
        return
    if file and os.path.isdir(path):
        raise ConfigError(f"{shell(flag, path)}: is a folder; give a file")
    if not file and os.path.lexists(path) and not os.path.isdir(path):
        raise ConfigError(f"{shell(flag, path)}: is a file; give a folder")
    parent = next(each for each in (path, *path.absolute().parents) if os.path.isdir(each) or os.path.isfile(each))
    if os.path.isfile(parent) and not (file and parent == path):
        raise ConfigError(f"{shell(flag, path)}: {parent} is a file; give another path")
    folder = parent.parent if os.path.isfile(parent) else parent  # a file that is there is replaced
    fault = _fault_of_writing(folder)
    if fault is not None:
        raise ConfigError(
            f"{shell(flag, path)}: {folder} is not writable ({fault}); change its rights, or give another path"
        )


def check_empty(flag: str, path: Path) -> None:
    """Raises ConfigError where something is in a folder that is to be new, or is no folder."""
    if os.path.lexists(path) and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{shell(flag, path)}: is not empty; choose another folder")


def check_apart(flag: str, path: Path | None, inputs: Iterable[Path], *, folder: bool = False) -> None:
    """Raises ConfigError where writing a file or folder would change a file or folder that a command reads.

    The path is an input, holds one, or lies in one and would replace what is there or be read with it: a folder, or a
    file with the ending of an expert's. Links are followed. folder: the path is one, whatever its name looks like.
    """
    if path is None:
        return
    targets, joins = _places(path), folder or os.path.lexists(path) or path.suffix.lower() in ("", *_ENDINGS)
    for part in (one for given in inputs for one in (given, *_links_in(given))):
        places = _places(part)
        if any(place.is_relative_to(target) for place in places for target in targets):
            what = "is" if set(places) & set(targets) else "holds"
            raise ConfigError(f"{shell(flag, path)}: {what} {part}, which this command reads; choose another path")
        if joins and any(target.is_relative_to(place) for place in places for target in targets):
            raise ConfigError(
                f"{shell(flag, path)}: lies in {part}, which this command reads; choose a path outside of it"
            )


def _places(path: Path) -> tuple[Path, Path]:
    """Where a path leads, and where it stands itself: they differ for a link."""
    return Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)


def _links_in(folder: Path) -> list[Path]:
    """The links below a folder, which may lead to what it is made of; none for a file."""
    paths = (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))
    return [path for path in paths if path.is_symlink()]


def _fault_of_writing(folder: Path) -> str | None:
    """Why no file can be made in a folder; None where one can. Rights do not tell: root has them all, even in /proc."""
    try:
        with TemporaryFile(dir=folder):  # without a name, where the disk can do that: the folder does not change
            return None
    except OSError as fault:
        return fault.strerror


def check_expert(argument: str, path: Path, expert: str) -> None:
    """Raises ConfigError where a path leads to no expert's folder, nor to one of the files that stand for it.

    argument: the flag with the path, "--stg_path FOLDER" or "--expert STG=FOLDER".
    """
    if os.path.isdir(path) or (os.path.isfile(path) and _is_checkpoint(path)):
        return
    file = os.path.isfile(path)
    if expert not in TRAINABLE:
        wanted = _files_of(EXPERTS[expert])
        raise ConfigError(f"{argument}: {'is a file' if file else 'no such file or folder'}; give {wanted}")
    if file:
        raise ConfigError(f"{argument}: is a file; give the folder of the trained {expert} model")
    raise ConfigError(f"{argument}: no such folder; give the folder of the trained {expert} model")


def _files_of(spec: ExpertSpec) -> str:
    folder = f"the folder of the {'pictures' if spec.pictures else 'files'} for {spec.name}"
    return folder if spec.pictures else f"a file {spec.checkpoints[0]}, or {folder}"


def _is_checkpoint(path: Path) -> bool:
    lower = Path(path.name.lower())  # endings are read in either case
    return any(path.match(name) or lower.match(name) for spec in EXPERTS.values() for name in spec.checkpoints)


def _beside(path: Path, *, folders: tuple[bool, ...]) -> str:
    """The names most like a path's, in its folder. folders: True for those of folders, False for those of files."""
    parent = path.parent
    if not os.path.isdir(parent):
        return f"none, as {parent} is no folder"
    names = [entry.name for entry in parent.iterdir() if entry.is_dir() in folders and not entry.name.startswith(".")]
    return ", ".join(ranked(path.name, names, _NEAREST)) or "none"
