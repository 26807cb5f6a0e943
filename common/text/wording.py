"""Numbers, times and names as log lines and tables show them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from common.text.units import GIGABYTE, MEGABYTE

ROOT = Path(__file__).resolve().parents[2]  # of the repository, where its scripts lie


def counted(count: int, noun: str) -> str:
    """Give a number with its noun, in the plural unless it is one: "1 frame", "2,430 frames"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Give a time for people: "50 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def bytes_text(count: int) -> str:
    """Give an amount of memory or disk for people: "26.0 GB", "16.1 MB"."""
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / MEGABYTE:.1f} MB"


def file_size_text(count: int) -> str:
    """Give the size of a file for people, a small one in hundredths: "0.03 MB", "16.1 MB"."""
    return bytes_text(count) if count >= 10 * MEGABYTE else f"{count / MEGABYTE:.2f} MB"


def first_and_more(names: Sequence[str]) -> str:
    """Name the first of several, and count the others: "cam00", "cam00 and 8 more"."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def shell(*words: object) -> str:
    """Give a command line, or a part of one, that a shell reads as these words: it quotes paths that need it."""
    return " ".join(shlex.quote(str(word)) for word in words)


def script_command(*words: object) -> str:
    """Give the command line of a script of this repository, such as "moegs.py", that works in the current folder."""
    script, *arguments = words
    return shell("python", script if Path.cwd() == ROOT else ROOT / str(script), *arguments)
