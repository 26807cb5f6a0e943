"""Settings of runs and trainings that were saved before a setting existed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scenes.layouts import LAYOUTS, LOADERS, guess_layout
from scenes.options import DEFAULT_LAYOUT

PRINCIPAL_POINTS, NOVEL_NEAR = "principal_points", "novel_near"


def unsaved_settings(content: Mapping[str, Any], *, layout: str | None = None) -> dict[str, Any]:
    """Give the settings that a saved JSON object lacks, with the values that were used, by flat name.

    N3V's principal points were always moved to the image centre. layout: of the scene, where the object's `loader` does
    not say it. None: `source_path` tells it.
    """
    if PRINCIPAL_POINTS in content:
        return {}
    loader, source = content.get("loader"), content.get("source_path")
    if loader in LOADERS:
        layout = LOADERS[loader].name
    elif layout is None:
        layout = (guess_layout(Path(source)) if source is not None else None) or DEFAULT_LAYOUT
    return {PRINCIPAL_POINTS: "centred" if LAYOUTS[layout].published_centred else "kept"}


def unsaved_rules(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the rules for novel views of a run that was saved before there were any: none held."""
    return {} if NOVEL_NEAR in content else {NOVEL_NEAR: 0.0, "coverage_guard": "off"}
