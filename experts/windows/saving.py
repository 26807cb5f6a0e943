"""An expert's model folder, or those of its windows."""

from __future__ import annotations

from pathlib import Path

from experts.base import Expert
from experts.spec import ExpertSpec
from experts.windows.model import WindowedExpert


def save_model(spec: ExpertSpec, expert: Expert, folder: Path, iteration: int) -> None:
    """Write a model in its expert's own files, each window in a folder of its own."""
    if not isinstance(expert, WindowedExpert):
        spec.save(expert, folder, iteration)
        return
    for window, model in zip(expert.windows, expert.experts, strict=True):
        spec.save(model, folder / window.name, iteration)
