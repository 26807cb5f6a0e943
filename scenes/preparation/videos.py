"""Preparation of the videos layout."""

from __future__ import annotations

from pathlib import Path

from .options import VideosOptions
from .report import PrepareReport


def prepare_videos(root: Path, options: VideosOptions) -> PrepareReport:
    raise NotImplementedError
