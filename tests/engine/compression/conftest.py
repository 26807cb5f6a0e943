"""A run to make smaller: of briefly trained experts of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

import moegs
from experts import EXPERTS
from router import ENSEMBLES
from tests.engine.expert_scene import run as train_expert
from tests.engine.expert_scene import write_film


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Four experts trained for two iterations, STG in two segments, and the run of a router of all of them."""
    root = tmp_path_factory.mktemp("compression")
    film, flags = write_film(root), []
    for spec in (EXPERTS[name] for name in ENSEMBLES["E4"].experts):
        segments = () if spec.segments is None else ("--segments=4",)
        assert train_expert(film, root / "models" / spec.name, spec.key, "--iterations=2", *segments) == 0
        flags.append(f"--expert={spec.name}={root / 'models' / spec.name}")
    shared = [f"--source_path={film}", f"--cache_path={root / 'cache'}", "--quiet", "--device=cpu"]
    few = ["--iterations=3", "--test_iterations"]
    assert moegs.main(["train", *shared, *flags, *few, f"--save_path={root / 'run'}"]) == 0
    return root
