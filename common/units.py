"""Units of memory, in bytes."""

from __future__ import annotations

MEBIBYTE = 2**20
GIGABYTE = 1e9
