"""Fixtures of all tests. The reference data lies outside the repository, because its licences differ."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .golden.original_gradients import references

__all__ = ["references", "shared"]

ROOT = Path(os.environ.get("MOEGS_REFERENCE", Path(__file__).resolve().parents[4] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a reference folder such as "reference/raster"; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = ROOT / name
        if not path.exists():
            pytest.skip(f"no reference data {name} under {ROOT}; set MOEGS_REFERENCE to the folder that holds it")
        return path

    return find
