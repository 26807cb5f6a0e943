"""--fast: a run blends in half precision on a GPU, and is refused elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.workload import Workload, random_run
from engine.errors import ConfigError
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import CUDA, ComputeDevice, wait
from engine.runs.run import as_in_results, blended_fast, mix_view
from router import ENSEMBLES
from tests.small_world import small_run

LEAST_PSNR = 60.0  # dB to float32's image: what the flag's help promises


def test_a_run_without_the_cuda_rasterizer_is_refused(tmp_path):
    run = small_run(tmp_path)
    with pytest.raises(ConfigError, match=r"--fast needs the CUDA rasterizer, but this is CPU .*; leave --fast out"):
        blended_fast(run)
    assert as_in_results(run, {"fast": True}) is run


def test_results_say_how_their_run_blends(tmp_path):
    run = replace(small_run(tmp_path), backend="cuda")
    fast = blended_fast(run)
    assert fast.backend == "cuda-half"
    assert as_in_results(run, {"fast": True}) == fast
    assert as_in_results(run, {"fast": False}) is run
    assert as_in_results(run, {}) is run


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["E4", "E3"])
def test_the_mixture_is_as_close_as_the_help_says(name):
    run = random_run(
        Workload(gaussians=3000, width=200, height=150, seed=0),
        ENSEMBLES[name],
        ComputeDevice(device=CUDA, backend="cuda"),
    )
    exact, fast = (mix_view(one, 0, 1).image for one in (run, blended_fast(run)))
    wait(run.compute)
    assert not torch.equal(exact, fast)
    assert psnr(fast, exact) >= LEAST_PSNR
