"""The expert that a command trains, and its preset, by the names that the user gave."""

from __future__ import annotations

import difflib

from engine.errors import ConfigError
from experts import EXPERTS, ExpertSpec
from experts.training.presets import SCENES, TrainingPreset
from scenes import Layout


def expert_of_key(key: str) -> ExpertSpec:
    """The expert of a command-line key, also as papers write it ("E-D3DGS"); ConfigError naming the nearest."""
    by_key = {spec.key: spec for spec in EXPERTS.values()}
    spec = by_key.get(key.lower().replace("-", ""))
    if spec is not None:
        return spec
    known = ", ".join(by_key)
    if not key:
        raise ConfigError(f"the expert to train is missing: give one of {known} first")
    close = difflib.get_close_matches(key.lower(), by_key, n=1, cutoff=0.4)
    raise ConfigError(f"no expert is called {key!r}; {f'did you mean {close[0]}?' if close else f'known: {known}'}")


def choose_preset(spec: ExpertSpec, asked: str, *, scene: str, layout: Layout) -> tuple[str, TrainingPreset]:
    """Name and settings of a preset; "auto" is the scene's own, else its layout's. ConfigError naming the nearest.

    A scene is known by its name or by what that begins with ("cook_spinach_half").
    """
    presets = spec.training.presets
    by_name = {name.lower(): name for name in presets}
    if asked == "auto":
        name = next((known for known in SCENES[layout] if scene.lower().startswith(known.lower())), layout)
        return name, presets[name]
    if asked.lower() not in by_name:
        close = difflib.get_close_matches(asked.lower(), by_name, n=1)
        advice = f"did you mean {by_name[close[0]]}?" if close else f"known: {', '.join(presets)}"
        raise ConfigError(f"--preset {asked}: {spec.name} has no such preset; {advice}")
    name = by_name[asked.lower()]
    return name, presets[name]
