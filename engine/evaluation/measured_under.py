"""What a number was measured under: recorded with it, so that it can be compared and checked later."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from common.files import files_hash
from common.tensors import tensors_hash
from engine.evaluation.lpips_weights import LoadedLpips
from engine.evaluation.metrics import MetricSuite
from engine.runs.checkpoint import named_tensors
from engine.runs.device import device_name, gpu_versions, peak_memory
from engine.runs.run import Run

RECORDED_PACKAGES = ("moegs-rasterizer", "torch", "numpy")


def conditions(
    run: Run,
    view_frames: Sequence[tuple[int, int]],
    *,
    suite: MetricSuite,
    lpips: LoadedLpips,
    weights: tuple[float, ...] | None,
    fitted_on: int,
) -> dict[str, Any]:
    """Protocol, cameras, frames, temperature, baselines, versions, hashes, device of an evaluation, for metrics.json.

    view_frames: (index into scene.views, frame) of every evaluated image; weights: of the best constants, fitted on at
    most `fitted_on` of them.
    """
    views = list(dict.fromkeys(view for view, _ in view_frames))
    return {
        "protocol": suite.protocol.describe(),
        "lpips_weights": lpips.source,
        "ensemble": run.ensemble.name,
        "experts": [expert.name for expert in run.experts],
        "iteration": run.iteration,
        "scene": run.scene.name,
        "cameras": [run.scene.views[view].name for view in views],
        "held_out": [view not in run.scene.train for view in views],
        "frames": sorted({frame for _, frame in view_frames}),
        "resolutions": sorted({(run.scene.views[v].camera.width, run.scene.views[v].camera.height) for v in views}),
        "temperature": run.router.eval_temperature,
        "baselines": _baselines(run, weights, min(fitted_on, len(view_frames))),
        "hashes": _hashes(run),
        "versions": versions() | gpu_versions(run.device),
        "device": device_name(run.device),
        "peak_gpu_memory_mib": peak_memory(run.device),
    }


def _baselines(run: Run, weights: tuple[float, ...] | None, fitted_on: int) -> dict[str, object]:
    uniform: dict[str, object] = {"uniform_mean": "every expert weighs the same"}
    if weights is None:
        return uniform
    return uniform | {
        "best_constant": {
            "weights": {expert.name: weight for expert, weight in zip(run.experts, weights, strict=True)},
            "what": f"least squares on {fitted_on} of the evaluated frames themselves: an upper bound for constants",
        }
    }


def _hashes(run: Run) -> dict[str, object]:
    return {
        "router": tensors_hash(named_tensors(run.router)),
        "experts": {expert.name: files_hash(expert.provenance.files) for expert in run.experts},
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide numbers."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed as a package"
    return found
