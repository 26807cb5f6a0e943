"""The expert that a command trains, and its preset, by the names that the user gave."""

from __future__ import annotations

from common.suggestions import nearest
from engine.errors import ConfigError
from experts import EXPERTS, ExpertSpec
from experts.training.presets import GENERIC, SCENES, TrainingPreset


def expert_of_key(key: str) -> ExpertSpec:
    """The expert of a command-line key, also as papers write it ("E-D3DGS"); ConfigError naming the nearest."""
    by_key = {spec.key: spec for spec in EXPERTS.values()}
    spec = by_key.get(key.lower().replace("-", ""))
    if spec is not None:
        return spec
    known = ", ".join(by_key)
    if not key:
        raise ConfigError(f"the expert to train is missing: give one of {known} first")
    close = nearest(key.lower(), by_key, likeness=0.4)
    raise ConfigError(f"no expert is called {key!r}; {f'did you mean {close}?' if close else f'known: {known}'}")


def choose_preset(spec: ExpertSpec, asked: str, *, scene: str, layout: str) -> tuple[str, TrainingPreset]:
    """Name and settings of a preset; "auto" is the scene's own, else its layout's. ConfigError naming the nearest.

    A scene is known by its name or by what that begins with ("cook_spinach_half").
    """
    presets = spec.training.presets
    by_name = {name.lower(): name for name in presets}
    if asked == "auto":
        others = layout if layout in SCENES else GENERIC
        name = next((known for known in SCENES[others] if scene.lower().startswith(known.lower())), others)
        return name, presets[name]
    if asked.lower() not in by_name:
        close = nearest(asked.lower(), by_name)
        advice = f"did you mean {by_name[close]}?" if close else f"known: {', '.join(presets)}"
        raise ConfigError(f"--preset {asked}: {spec.name} has no such preset; {advice}")
    name = by_name[asked.lower()]
    return name, presets[name]
