"""Real experts on a scene they were trained on: the blends' known quality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from common.maths.tensors import rounded_to_uint8
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.rivals.baselines import constant_blend
from engine.evaluation.scoring import image_tensor
from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts.loading import open_expert
from engine.runs.opening import assemble
from engine.runs.run import Run, mix_view
from engine.runs.scene import open_scene
from engine.settings.training.run import DataConfig, ExpertsConfig, MachineConfig, OutputConfig, RouterConfig, RunConfig
from router import ENSEMBLES, Router, folder_flags
from tests.engine.evaluation.test_baselines import grid

# dB on cam00 of kitchen_tiny, measured outside this project on clamped images, to two digits
UNIFORM_MEAN = {0: 22.81, 75: 22.39, 150: 23.34, 299: 22.50}
BEST_EXPERT = {0: 22.74, 75: 22.59, 150: 23.21, 299: 22.71}


def test_blends_of_four_trained_experts_score_as_known(shared, tmp_path):
    models = shared("reference/experts")
    ensemble = ENSEMBLES["E4"]
    folders = {name: models / name / "kitchen_tiny" for name in ensemble.experts}
    config = RunConfig(
        data=DataConfig(source_path=shared("data/kitchen_tiny"), cache_path=tmp_path / "cache"),
        experts=ExpertsConfig(
            **{flag: folders[name] for name, flag in folder_flags(ensemble).items()},
            near=1.13,
            far=300.0,
        ),
        router=RouterConfig(coverage_guard="off"),  # the known numbers are of the experts' own backgrounds
        output=OutputConfig(save_path=tmp_path),
        machine=MachineConfig(quiet=True),
    )
    scene = open_scene(config, ensemble)
    experts = tuple(open_expert(config, scene, name, folder, device=CPU) for name, folder in folders.items())
    router = Router([expert.name for expert in experts], [expert.num_gaussians for expert in experts])
    compute = ComputeDevice(device=CPU, backend="auto")
    run = assemble(config, ensemble, compute=compute, scene=scene, experts=experts, router=router)

    options = EvaluationOptions(frames=tuple(UNIFORM_MEAN), videos=False, networks=False, progress=False)
    result = evaluate_mixture(run, views=scene.test, folder=tmp_path / "out", options=options)
    assert [frame.frame for frame in result.frames] == list(UNIFORM_MEAN)
    for frame in result.frames:
        values = {method: scores["psnr"] for method, scores in frame.scores.items()}
        assert values["uniform_mean"] == pytest.approx(UNIFORM_MEAN[frame.frame], abs=0.006)
        best = max(values[expert.name] for expert in experts)
        assert best == pytest.approx(BEST_EXPERT[frame.frame], abs=0.006)
    means = {method: scores["psnr"] for method, scores in result.means.items()}
    assert means["best_constant"] >= max(means[name] for name in ("uniform_mean", *folders))
    assert means["best_constant"] >= best_of_a_grid(run, tuple(UNIFORM_MEAN)) - 0.01
    assert means["oracle_pixel"] > means["oracle_window"] > means["oracle_frame"]
    assert means["oracle_frame"] >= max(means[name] for name in folders)
    share = (means["MoE"] - means["uniform_mean"]) / (means["oracle_window"] - means["uniform_mean"])
    assert result.window_gap_share == pytest.approx(share)


def best_of_a_grid(run: Run, frames: Sequence[int]) -> float:
    """The highest mean PSNR, of images clamped and rounded to 8 bits, of constant weights in steps of 0.1."""
    (view,) = run.scene.test
    experts = [mix_view(run, view, frame).images for frame in frames]
    truths = [image_tensor(run.scene.frames.read(view, frame), CPU) for frame in frames]

    def mean_psnr(weights: tuple[float, ...]) -> float:
        blends = [rounded_to_uint8(constant_blend(images, weights)) for images in experts]
        return float(np.mean([psnr(blend, truth) for blend, truth in zip(blends, truths, strict=True)]))

    return max(mean_psnr(tuple(point)) for point in grid(len(run.experts), 10))
