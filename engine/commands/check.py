"""Check a scene and trained experts before the hours are spent: python moegs.py check SCENE [EXPERT ...]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.checks.clip_length import settle_clip_lengths
from engine.checks.experts import check_held_out
from engine.checks.rasterizer import check_rasterizer
from engine.checks.verdict import Verdict, judge
from engine.runs.device import open_compute_device
from engine.runs.opening import open_expert, open_scene
from engine.settings.check import read_check_settings
from engine.settings.command_line import set_up_logging
from engine.settings.experts import check_expert_frames, ensemble_and_folders
from engine.settings.run import AnyRunConfig
from scenes import Scene

FAULTS = 1  # exit code where a warning is among the results


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 nothing to warn of, 1 warnings."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_check_settings(argv, prog=prog, description=description)
    return FAULTS
