"""Preparation of the technicolor layout."""

from __future__ import annotations

from pathlib import Path

from .options import PrepareOptions
from .report import PrepareReport


def prepare_technicolor(root: Path, options: PrepareOptions) -> PrepareReport:
    raise NotImplementedError
