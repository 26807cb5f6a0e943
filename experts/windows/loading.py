"""An expert of windows, read from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from moegs_rasterizer import RasterSettings

from experts.base import CheckpointError, Expert, LoadOptions
from experts.spec import ExpertSpec
from experts.windows.folders import Window, check_windows
from experts.windows.model import WindowedExpert


def load_windowed(spec: ExpertSpec, path: Path, windows: Sequence[Window], options: LoadOptions) -> Expert:
    """The models of windows below a folder as one expert, each with the culling planes of its training.

    Raises CheckpointError where windows are missing, or differ in what else they are splatted by.
    """
    check_windows(path, windows, options.num_frames)
    experts: list[Expert] = []
    for window in windows:
        known = replace(options, num_frames=window.count, trained_frames=window.count, expert_frames=window.count)
        experts.append(spec.load(path / window.name, known))
        if _convention(experts[-1]) != _convention(experts[0]):
            raise CheckpointError(
                f"{path}: {window.name} was trained with another background or splatting convention than "
                f"{windows[0].name}; train all windows with the same settings"
            )
    return experts[0] if len(experts) == 1 else WindowedExpert(windows, experts)


def _convention(expert: Expert) -> tuple[RasterSettings, tuple[float, ...]]:
    """All that an expert is splatted by but its culling planes, which are measured for each window."""
    return replace(expert.settings, near=0.0, far=None), expert.background
