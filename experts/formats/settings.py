"""Precedence of an expert's settings: the run's value, else the one in its own cfg_args, else the published preset."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from experts.base import CheckpointError, LoadOptions
from experts.formats.cfg_args import CFG_ARGS, named_scene, read_cfg_args

NEAR, FAR = 0.2, 300.0  # Ex4DGS's and STG's planes where nothing says others
_WHITE = "white_background"  # in cfg_args: the colour behind the Gaussians of the training
PRESET = "preset"  # in cfg_args: its name, of models trained here
FIRST_FRAME, CLIP_FRAMES, FRAME_RATE = "start_timestamp", "clip_frames", "frame_rate"  # of their clip


def background_setting(background: Sequence[float], *, white: bool) -> dict[str, object]:
    """The setting of a background for cfg_args, where it is not the expert's own (white: whether that is white)."""
    stored = background[0] == 1
    return {} if stored == white else {_WHITE: stored}


class CheckpointSettings:
    """The settings of one checkpoint folder; `notes` holds, for each value asked for, its source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cfg_args = read_cfg_args(folder)
        self.notes: list[str] = []
        self._others: Mapping[str, object] = {}
        self._others_source = ""

    def fall_back_to(self, values: Mapping[str, object], source: str) -> None:
        """Take values that cfg_args does not have from elsewhere; notes call that place `source`."""
        self._others, self._others_source = values, source

    def stored(self, key: str) -> Any:
        """A setting in cfg_args, or in what is fallen back to; None where neither has it."""
        own = (self.cfg_args or {}).get(key)
        return self._others.get(key) if own is None else own

    def number(
        self, key: str, preset: float, *, run: float | None = None, above: float = -math.inf, unit: str = ""
    ) -> float:
        """A finite number; one in cfg_args that is not above a bound means "not said" (duration=-1).

        unit: for the note. Raises CheckpointError where cfg_args holds something else.
        """
        stored = self.stored(key)
        if run is None and stored is not None and (not isinstance(stored, int | float) or not math.isfinite(stored)):
            raise CheckpointError(f"{self.folder / CFG_ARGS}: {key} is {stored!r}, a number expected; mend it")
        if isinstance(stored, int | float) and stored <= above:
            stored = None
        value, source = self._choose(key, run, stored, preset)
        self.notes.append(f"{' '.join(filter(None, (key, f'{value:g}', unit)))} ({source})")
        return value

    def planes(self, options: LoadOptions) -> tuple[float, float]:
        """Near and far planes: the run's, else those in cfg_args, else those of a JSON config, else the presets."""
        near = self._plane("near", NEAR, run=options.near, other=options.config_near, config=options.config)
        return near, self._plane("far", FAR, run=options.far, other=options.config_far, config=options.config)

    def choice(self, key: str, preset: str, choices: Collection[str]) -> str:
        """One of several words; raises CheckpointError naming the choices where cfg_args holds another."""
        value, source = self._choose(key, None, self.stored(key), preset)
        if value not in choices:
            listed = ", ".join(choices)
            raise CheckpointError(f"{self.folder / CFG_ARGS}: {key} {value!r} is not supported (supported: {listed})")
        self.notes.append(f"{key} {value} ({source})")
        return str(value)

    def background(self, *, white: bool, obey: bool = True) -> tuple[float, float, float]:
        """The RGB background: white or black as cfg_args says, noted where it is not the expert's own; else that.

        white: whether the expert's own is white. obey: False where the expert's code does not read cfg_args for it.
        Raises CheckpointError where cfg_args holds something else.
        """
        stored = (self.cfg_args or {}).get(_WHITE)
        if not obey or stored is None:
            return (float(white),) * 3
        if stored not in (True, False):
            raise CheckpointError(f"{self.folder / CFG_ARGS}: {_WHITE} is {stored!r}, True or False expected; mend it")
        if stored != white:
            white = bool(stored)
            names = ("white", "black") if white else ("black", "white")
            self.notes.append("background {} (its training's, from cfg_args), not the expert's usual {}".format(*names))
        return (float(white),) * 3

    @property
    def trained_preset(self) -> str | None:
        """The preset of a training by `moegs.py train-expert`, which records it in cfg_args."""
        preset = (self.cfg_args or {}).get(PRESET)
        return preset if isinstance(preset, str) else None

    def note_preset(self) -> None:
        """Note the preset that the model was trained with, where cfg_args records it."""
        if self.trained_preset is not None:
            self.notes.append(f"trained with preset {self.trained_preset}")

    def compare_scene(self, scene: str | None) -> None:
        """Note when cfg_args was written for a scene of another name (folders get renamed: not an error)."""
        named = named_scene(self.cfg_args)
        if scene is not None and named is not None and named != scene:
            self.notes.append(f"cfg_args names the scene {named}, the run's is {scene}")

    def _plane(self, key: str, preset: float, *, run: float | None, other: float | None, config: Path | None) -> float:
        own = run is None and (self.cfg_args or {}).get(key) is not None
        value = self.number(key, preset, run=other if run is None and not own else run)
        if own and config is not None and other not in (None, value):
            trained = f"the expert was trained with {value:g}; using {value:g}"
            self.notes.append(f"warning: {key} {other:g} in {config}, {trained}")
        return value

    def _choose(self, key: str, run: Any, stored: Any, preset: Any) -> tuple[Any, str]:
        if run is not None:
            return run, "from the run"
        if stored is not None:
            return stored, self._others_source if (self.cfg_args or {}).get(key) is None else "from cfg_args"
        return preset, "preset value: no cfg_args" if self.cfg_args is None else "preset value: not in cfg_args"
