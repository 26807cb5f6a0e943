"""The expert that a command trains, and its preset, by the names that the user gave."""

from __future__ import annotations

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.settings.training.train_expert import AUTO
from experts import TRAINABLE, ExpertSpec
from experts.training.recipes.presets import FAST, GENERIC, SCENES, TrainingPreset, fast_name


def expert_of_key(key: str) -> ExpertSpec:
    """The expert of a command-line key, also as papers write it ("E-D3DGS"); ConfigError naming the nearest."""
    by_key = {spec.key: spec for spec in TRAINABLE.values()}
    spec = by_key.get(key.lower().replace("-", ""))
    if spec is not None:
        return spec
    if not key:
        raise ConfigError(f"the expert to train is missing: give one of {', '.join(by_key)} first")
    raise ConfigError(f"no expert is called {key!r}; {hint(key, by_key, likeness=0.4)}")


def choose_preset(spec: ExpertSpec, asked: str, *, scene: str, layout: str) -> tuple[str, TrainingPreset]:
    """Name and settings of a preset; "auto" is the scene's own, else its layout's; "fast" is the short form of that.

    A scene is known by its name or by what that begins with ("cook_spinach_half"). ConfigError naming the nearest.
    """
    presets = spec.training.presets
    if not presets:
        raise ConfigError(f"{spec.name} cannot be trained: its files are of other programs; give prune --tune router")
    by_name = {name.lower(): name for name in presets}
    if asked.lower() in (AUTO, FAST):
        others = layout if layout in SCENES else GENERIC
        name = next((known for known in SCENES[others] if scene.lower().startswith(known.lower())), others)
        name = fast_name(name) if asked.lower() == FAST else name
        if name in presets:
            return name, presets[name]
    if asked.lower() not in by_name:
        raise ConfigError(f"--preset {asked}: {spec.name} has no such preset; {hint(asked, presets)}")
    name = by_name[asked.lower()]
    return name, presets[name]
