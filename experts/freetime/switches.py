"""The switches of a FreeTime model, which say what its raw columns mean: in cfg_args, and in comments of its PLY."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import cast, get_args

from experts.base import CheckpointError
from experts.formats.cfg_args import CFG_ARGS
from experts.formats.ply import read_comments
from experts.formats.settings import CheckpointSettings
from experts.freetime.recipe import Kernel, LifeSettings, Still

SWITCHES = ("limit", "sharpness", "still", "kernel", "has_gate")
_LIMIT, _SHARPNESS, _STILL, _KERNEL, _GATE = SWITCHES
_PREFIX = "life_"  # of the comments' names
_LASTING = "lasting"


def switch_values(life: LifeSettings) -> dict[str, object]:
    """The switches as cfg_args has them."""
    numbers = [int(value) if value == int(value) else value for value in (life.limit or 0, life.sharpness)]
    return dict(zip(SWITCHES, (*numbers, life.still, life.kernel, life.has_gate), strict=True))


def switch_comments(life: LifeSettings) -> tuple[str, ...]:
    """The switches as comments of a PLY file: a copy of it alone is still whole."""
    return tuple(f"{_PREFIX}{name} {value!r}" for name, value in switch_values(life).items())


def find_life(settings: CheckpointSettings, path: Path) -> LifeSettings | None:
    """The switches in cfg_args, where these lack one in a PLY file's comments; None where neither has any.

    Raises CheckpointError for values that mean nothing, and where the two contradict each other.
    """
    said = _said(path)
    settings.fall_back_to(said, "from the PLY file's comments")
    if all(settings.stored(name) is None for name in SWITCHES):
        return None
    life = _life(settings)
    for name, value in switch_values(life).items():
        if said.get(name, value) != value:
            raise CheckpointError(
                f"{settings.folder / CFG_ARGS}: {name} is {value!r}, but {path} was written with {said[name]!r}; one "
                "of them is of another training, copy both from the same"
            )
    return life


def _life(settings: CheckpointSettings) -> LifeSettings:
    limit = settings.number(_LIMIT, 0, unit="frames")
    if limit < 0:
        raise CheckpointError(f"{settings.folder / CFG_ARGS}: {_LIMIT} is {limit:g}, no less than 0 expected; mend it")
    return LifeSettings(
        limit=limit or None,
        sharpness=settings.number(_SHARPNESS, 1),
        still=_still(settings),
        kernel=cast(Kernel, settings.choice(_KERNEL, "bell", get_args(Kernel))),
        has_gate=bool(settings.number(_GATE, True)),
    )


def _still(settings: CheckpointSettings) -> Still:
    """The rule of motion; True where nothing says it. "lasting" is a word, True and False are not."""
    if isinstance(settings.stored(_STILL), str):
        return cast(Still, settings.choice(_STILL, _LASTING, (_LASTING,)))
    return bool(settings.number(_STILL, True))


def _said(path: Path) -> dict[str, object]:
    """The switches in a PLY file's comments."""
    said: dict[str, object] = {}
    for comment in read_comments(path):
        name, _, text = comment.removeprefix(_PREFIX).partition(" ")
        if comment.startswith(_PREFIX) and name in SWITCHES:
            said[name] = _value(path, comment, text)
    return said


def _value(path: Path, comment: str, text: str) -> object:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, (bool, int, float, str)):
        raise CheckpointError(f"{path}: its comment {comment[:60]!r} is damaged; get the file again from its source")
    return value
