"""Units of memory, in bytes."""

from __future__ import annotations

MEBIBYTE = 2**20
MEGABYTE = 1e6
GIGABYTE = 1e9
