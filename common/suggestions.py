"""Suggestions for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Find the known name most like this one; None where all are less like it than `likeness` (1: equal)."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=likeness)), None)


def ranked(name: str, known: Iterable[str], count: int) -> list[str]:
    """Sort known names by how much they are like this one and return at most `count`, the most like first."""
    return get_close_matches(name, list(known), n=count, cutoff=0)
