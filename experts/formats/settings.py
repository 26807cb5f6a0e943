"""Where an expert's setting comes from: the run, else the expert's own cfg_args, else the published preset."""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from common.files import replacing
from experts.base import CheckpointError
from experts.formats.torch_files import read_cfg_args


class Settings:
    """The settings of one checkpoint folder; notes says for each value asked for where it came from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cfg_args = read_cfg_args(folder)
        self.notes: list[str] = []

    def number(self, key: str, preset: float, *, run: float | None = None, above: float = -math.inf) -> float:
        """A finite number; one in cfg_args that is not above a bound means "not said" (duration=-1).

        Raises CheckpointError where cfg_args holds something else.
        """
        found = (self.cfg_args or {}).get(key)
        if run is None and found is not None and (not isinstance(found, int | float) or not math.isfinite(found)):
            raise CheckpointError(f"{self.folder / 'cfg_args'}: {key} is {found!r}, a number expected; mend it")
        if isinstance(found, int | float) and found <= above:
            found = None
        value, source = self._choose(run, found, preset)
        self.notes.append(f"{key} {value:g} ({source})")
        return value

    def choice(self, key: str, preset: str, choices: Collection[str]) -> str:
        """One of several words; raises CheckpointError naming the choices where cfg_args holds another."""
        value, source = self._choose(None, (self.cfg_args or {}).get(key), preset)
        if value not in choices:
            listed = ", ".join(choices)
            raise CheckpointError(f"{self.folder / 'cfg_args'}: {key} {value!r} is not supported (supported: {listed})")
        self.notes.append(f"{key} {value} ({source})")
        return str(value)

    def compare_scene(self, scene: str | None) -> None:
        """Note when cfg_args was written for a scene of another name (folders get renamed: not an error)."""
        source = (self.cfg_args or {}).get("source_path")
        if scene is None or not isinstance(source, str) or not source:
            return
        parts = [part for part in Path(source).parts if not part.startswith("colmap_")]
        if parts and parts[-1] != scene:
            self.notes.append(f"warning: cfg_args names the scene {parts[-1]}, the run's is {scene}")

    def _choose(self, run: Any, found: Any, preset: Any) -> tuple[Any, str]:
        if run is not None:
            return run, "from the run"
        if found is not None:
            return found, "from cfg_args"
        return preset, "preset; cfg_args does not say" if self.cfg_args is not None else "preset; no cfg_args"


def write_cfg_args(folder: Path, values: Mapping[str, object]) -> None:
    """Write settings as the text Namespace(name=value, ...); other settings already in the folder's file stay."""
    before = read_cfg_args(folder)
    plain = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in values.items()}
    merged = {**(before or {}), **plain}
    if merged == before:
        return
    with replacing(folder / "cfg_args") as temporary:
        temporary.write_text(str(argparse.Namespace(**merged)), encoding="utf-8")
