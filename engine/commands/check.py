"""Check a scene and trained experts before the hours are spent: python moegs.py check SCENE [EXPERT ...]."""

from __future__ import annotations

from collections.abc import Sequence

from engine.settings.check import read_check_settings
from engine.settings.command_line import set_up_logging

FAULTS = 1  # exit code where a warning is among the results


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 nothing to warn of, 1 warnings."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_check_settings(argv, prog=prog, description=description)
    return FAULTS
