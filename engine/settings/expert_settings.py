"""Settings that follow from the table of experts: flags of their folders, and names for help texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Annotated, Any

from engine.settings.command_line import flag
from experts import EXPERTS, ExpertSpec

WITH_PLANES = " and ".join(spec.name for spec in EXPERTS.values() if spec.has_planes)
WITH_SEGMENTS = " and ".join(spec.name for spec in EXPERTS.values() if spec.segments is not None)
*_FIRST_KEYS, _LAST_KEY = (spec.key for spec in EXPERTS.values())
KEYS = f"{', '.join(_FIRST_KEYS)} or {_LAST_KEY}"


def expert_folder_settings(help: Callable[[ExpertSpec], str], *, after: tuple[type, ...] = ()) -> Any:
    """A group of settings, a frozen dataclass to inherit from: an optional folder for each expert, by its flag.

    help: the flag's. after: groups whose settings come first.
    """
    folders = [(spec.flag, Annotated[Path | None, _folder_flag(spec, help(spec))], None) for spec in EXPERTS.values()]
    return make_dataclass("ExpertFolders", folders, bases=after, frozen=True, slots=True, kw_only=True)


def _folder_flag(spec: ExpertSpec, help: str) -> Any:
    aliases = () if spec.alias is None else (spec.alias,)
    return flag(help, *aliases, metavar="PATH")
