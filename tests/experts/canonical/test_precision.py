"""Networks in less than float32: near the numbers of float32, while the context lasts, and never for what learns."""

from __future__ import annotations

import pytest
import torch

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS
from experts.canonical.precision import networks_in
from experts.kept_frames import ExpertFrames, tensors_of

NETWORKS = pytest.mark.parametrize("name", ["E-D3DGS", "4DGaussians"])


def model(name: str):
    torch.manual_seed(0)
    gaussians, _ = trained_like_scene(count=700, width=32, height=24, seed=1)
    expert = EXPERTS[name].random_model(gaussians).requires_grad_(False)
    for parameter in expert.deformation.parameters():
        parameter.mul_(2)  # the first weights move Gaussians little
    return expert


@NETWORKS
@pytest.mark.parametrize(("precision", "steps"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_is_near_full(name, precision, steps):
    expert = model(name)
    exact, canonical = expert.at(7), expert.gaussians.means
    rough = ExpertFrames(precision=precision).of(expert, 7).gaussians
    moved = (exact.means - canonical).abs().max()
    error = (rough.means - exact.means).abs().max()
    assert moved > 1e-3 and 0 < error <= 16 * steps * moved
    assert all(tensor.dtype == torch.float32 for tensor in tensors_of(rough).values())


@NETWORKS
def test_full_precision_comes_back(name):
    expert = model(name)
    exact = expert.at(7).means
    with pytest.raises(KeyError), networks_in("float16"):
        raise KeyError
    assert torch.equal(ExpertFrames(precision="float32").of(expert, 7).gaussians.means, exact)
    assert not torch.backends.cuda.matmul.allow_tf32
    with networks_in("tf32"):
        assert torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@NETWORKS
def test_networks_that_learn_stay_in_full_precision(name):
    expert = model(name).requires_grad_(True)
    with networks_in("float16"):
        learned = expert.at(7).means
    assert torch.equal(learned, expert.at(7).means) and learned.requires_grad
