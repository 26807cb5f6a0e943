"""A run that results are of, opened again as it was when they were made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.reporting.results import Results
from engine.runs.run import Run, as_in_results
from engine.runs.saved.loading import load_run, overrides_of_results
from engine.settings.training.experts import BY_NAME
from scenes import Scene


def run_of_results(save_path: Path, results: Results, overrides: Mapping[str, Any]) -> Run:
    """The run of a folder's results, with the settings that they were made with; no frame is decoded yet.

    overrides: by flag name, such as where scene and experts lie by now. Raises what `load_run` raises, and ConfigError
    where the scene lacks cameras of the results.
    """
    run = load_run(
        save_path,
        iteration=results.iteration,
        overrides={**overrides, **overrides_of_results(results.facts)},
        needed="none",
        check=partial(require_cameras, cameras=results.cameras),
        flag=BY_NAME,
    )
    return as_in_results(run, results.facts)


def require_cameras(scene: Scene, *, cameras: Collection[str]) -> None:
    """Raises ConfigError where a scene lacks cameras that results are of."""
    lost = sorted(set(cameras) - {view.name for view in scene.views})
    if lost:
        raise ConfigError(f"{scene.root}: no camera {', '.join(lost)}; give the scene of the results")
