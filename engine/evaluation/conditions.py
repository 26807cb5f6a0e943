"""The conditions of a measurement, recorded with its numbers, so that they can be compared and checked later."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from common.disk.files import files_hash
from common.maths.tensors import tensors_hash
from engine.evaluation.measures.metrics import describe_protocol
from engine.evaluation.measures.suite import MetricSuite, weights_facts
from engine.evaluation.provenance import ImageHashes, gaussian_counts, megabytes, training_seconds
from engine.evaluation.rivals.baselines import CONSTANT, UNIFORM, ConstantWeights
from engine.evaluation.rivals.twins import twin_facts
from engine.runs.device import ComputeDevice, device_name, gpu_versions, peak_memory
from engine.runs.revision import this_revision
from engine.runs.run import Run
from engine.runs.saved.router_tensors import named_tensors
from experts import Expert
from experts.novel_views import NovelViewCulling
from router.novel_views import NovelViews
from scenes import Scene, ViewFrame

RECORDED_PACKAGES = ("moegs-rasterizer", "torch", "numpy")


def mixture_conditions(
    run: Run,
    view_frames: Sequence[ViewFrame],
    *,
    suite: MetricSuite,
    constants: ConstantWeights | None,
    hashes: ImageHashes,
    twins: Mapping[str, Expert],
) -> dict[str, Any]:
    """Protocol, cameras, frames, baselines, hashes, sizes, times, versions and device, for metrics.json."""
    views = list(dict.fromkeys(view for view, _ in view_frames))
    return {
        **_protocol(suite),
        "ensemble": run.ensemble.name,
        "experts": [expert.name for expert in run.experts],
        "iteration": run.iteration,
        "scene": run.scene.name,
        "cameras": [run.scene.views[view].name for view in views],
        "held_out": [view not in run.scene.train for view in views],
        "frames": sorted({frame for _, frame in view_frames}),
        "resolutions": sorted({(run.scene.views[v].camera.width, run.scene.views[v].camera.height) for v in views}),
        "temperature": run.router.eval_temperature,
        "network_precision": run.frames.precision,
        "fast": run.backend == "cuda-half",
        "novel_near": novel_near(run.novel.culling),
        "coverage_guard": run.novel.coverage_guard,
        "hole_colour": run.novel.hole_colour,
        "usual_coverage": run.novel.usual_coverage,
        "towards_mean": run.novel.towards_mean,
        "fill_holes": run.novel.fill_holes,
        "router_cameras": [run.scene.views[view].name for view in run.scene.router],
        "judge": run.judgement.to_json() if run.judgement else None,
        "baselines": {**_baselines(run, constants), **twin_facts(twins)},
        "hashes": {**_hashes(run), **hashes.facts()},
        "seed": run.seed,
        "training_seconds": training_seconds(run),
        "gaussians": gaussian_counts(run),
        "megabytes": megabytes(run),
        "revision": this_revision(),
        "versions": versions(run.device),
        "device": device_name(run.device),
        "peak_gpu_memory_mib": peak_memory(run.device),
    }


def expert_conditions(
    scene: Scene,
    compute: ComputeDevice,
    *,
    suite: MetricSuite,
    hashes: ImageHashes,
    novel: NovelViews,
) -> dict[str, Any]:
    """Protocol, scene, cameras, device and versions, for an expert's metrics.json."""
    return {
        **_protocol(suite),
        "scene": scene.name,
        "first_frame": scene.start,
        "novel_near": novel_near(novel.culling),
        "hole_colour": novel.hole_colour,
        "usual_coverage": novel.usual_coverage,
        "cameras": [scene.views[view].name for view in scene.test],
        "hashes": hashes.facts(),
        "device": device_name(compute.device),
        "peak_gpu_memory_mib": peak_memory(compute.device),
        "revision": this_revision(),
        "versions": versions(compute.device),
    }


def novel_near(culling: NovelViewCulling | None) -> float | None:
    """The near plane of cameras that were not trained on, for result files; None: nothing was culled there."""
    return None if culling is None else culling.near


def versions(device: torch.device) -> dict[str, str]:
    """Versions of Python, of the packages that decide numbers and, for a GPU, of CUDA and its driver."""
    numbers = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = "not installed as a package"
    return numbers | gpu_versions(device)


def _protocol(suite: MetricSuite) -> dict[str, Any]:
    return {"protocol": describe_protocol(suite.protocol), **weights_facts(suite)}


def _baselines(run: Run, constants: ConstantWeights | None) -> dict[str, object]:
    uniform: dict[str, object] = {UNIFORM: "every expert weighs the same"}
    if constants is None:
        return uniform
    fitted: dict[str, list[int]] = {}
    for view, frame in constants.fitted_on:
        fitted.setdefault(run.scene.views[view].name, []).append(frame)
    seen = f"{len(constants.fitted_on)} of the {constants.evaluated} scored frames"
    return uniform | {
        CONSTANT: {
            "weights": {expert.name: weight for expert, weight in zip(run.experts, constants.weights, strict=True)},
            "what": f"highest mean PSNR found on {seen}; never below uniform mean and each expert",
            "fitted_on": fitted,
        }
    }


def _hashes(run: Run) -> dict[str, object]:
    return {
        "router": tensors_hash(named_tensors(run.router)),
        "experts": {expert.name: files_hash(expert.provenance.files) for expert in run.experts},
    }
