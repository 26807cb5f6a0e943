"""Runs of several seeds in one folder: `<save_path>/seed_K` is the ordinary run of seed K."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import ConfigError

_NAME = re.compile(r"seed_(-?\d+)")


def seed_folder(save_path: Path, seed: int) -> Path:
    """The folder of a seed's run."""
    return save_path / f"seed_{seed}"


def seed_of(folder: Path) -> int:
    """The seed of a run by the name of its folder, `seed_K`."""
    match = _NAME.fullmatch(folder.name)
    assert match is not None
    return int(match[1])


def trained_seeds(save_path: Path) -> list[Path]:
    """The folders of the seeds that have a saved router, by seed; none where the folder is an ordinary run's."""
    found = {seed_of(path): path for path in save_path.glob("seed_*") if _NAME.fullmatch(path.name)}
    return [found[seed] for seed in sorted(found) if any((found[seed] / "router").glob("iteration_*"))]


def runs_of(save_path: Path) -> list[Path]:
    """The folders of the runs that a folder stands for: its seeds', else itself."""
    return trained_seeds(save_path) or [save_path]


def require_one_run(save_path: Path) -> None:
    """Raises ConfigError where a folder holds runs of several seeds."""
    seeds = trained_seeds(save_path)
    if seeds:
        names = ", ".join(path.name for path in seeds)
        raise ConfigError(f"{save_path}: holds a run for each seed ({names}); give one of them, such as {seeds[0]}")
