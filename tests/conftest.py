"""The reference data's folder: outside the repository, because its licences differ; and no GPU but for tests of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.runs.device

ROOT = Path(os.environ.get("MOEGS_REFERENCE", Path(__file__).resolve().parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first: a long one at the end would leave the other processes without work."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def no_gpu(request, monkeypatch):
    """Tests without the mark cuda see no GPU: they mean the CPU, on every machine."""
    if request.node.get_closest_marker("cuda") is None:
        monkeypatch.setattr(engine.runs.device, "gpu_here", lambda: False)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a reference folder such as "reference/raster"; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = ROOT / name
        if not path.exists():
            pytest.skip(f"no reference data {name} under {ROOT}; set MOEGS_REFERENCE to the folder that holds it")
        return path

    return find
