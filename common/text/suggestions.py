"""Suggestions for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Find the known name most like this one; None where all are less like it than `likeness` (1: equal)."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=likeness)), None)


def hint(
    name: str, known: Iterable[str], *, likeness: float = 0.6, prefix: str = "", otherwise: str | None = None
) -> str:
    """Say "did you mean X?" of the known name most like this one, in any case; else "known: " and all of them.

    likeness: as `nearest`. prefix: put before the suggested name. otherwise: said in place of the names.
    """
    names = {each.lower(): each for each in known}
    close = nearest(name.lower(), names, likeness=likeness)
    if close is not None:
        return f"did you mean {prefix}{names[close]}?"
    return f"known: {', '.join(names.values())}" if otherwise is None else otherwise


def ranked(name: str, known: Iterable[str], count: int) -> list[str]:
    """Sort known names by how much they are like this one and return at most `count`, the most like first."""
    return get_close_matches(name, list(known), n=count, cutoff=0)
