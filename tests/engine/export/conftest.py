"""A trained run that exports are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import train
from tests.small_world import use_small_world


@pytest.fixture
def save_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    flags = [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'run'}", "--backend=torch"]
    assert train.main("E3", [*flags, "--iterations=2", "--test_iterations"]) == 0
    return tmp_path / "run"
