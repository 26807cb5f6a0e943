"""Preparation of the n3v layout."""

from __future__ import annotations

from pathlib import Path

from .options import PrepareOptions
from .report import PrepareReport


def prepare_n3v(root: Path, options: PrepareOptions) -> PrepareReport:
    raise NotImplementedError
