"""STG's motion as a kernel: the readable version's numbers, here on tensors of the CPU and, with a GPU, on it."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from experts.base import MAX_LOG_WIDTH
from experts.stg.motion import Moved, Moving, plain_moved
from experts.stg.motion_cuda import has_motion_kernel, moved_by_kernel
from tests.experts.stg.test_stg import three_segments
from tests.kernels_on_cpu import kernels_on_cpu

COUNT = 300  # more than a block
WIDTHS = {"means": (3,), "motion": (9,), "quats": (4,), "omegas": (4,)}


def moving(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Moving:
    draw = torch.Generator().manual_seed(0)
    given = {
        field.name: torch.randn(COUNT, *WIDTHS.get(field.name, ()), generator=draw, dtype=torch.float64)
        for field in fields(Moving)
    }
    given["quats"][0] = given["omegas"][0] = 0  # no rotation
    given["log_widths"][1:3] = torch.tensor([-1.5, 1.5]) * MAX_LOG_WIDTH
    given["opacity_logits"][3:5] = torch.tensor([-200.0, 200.0])
    return Moving(**{name: tensor.to(device, dtype) for name, tensor in given.items()})


def assert_close(found: Moved, expected: Moved) -> None:
    for field in fields(Moved):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one.cpu().double(), other, atol=2e-6, rtol=2e-6, msg=field.name)


@pytest.mark.parametrize("time", [0.0, 0.37, -2.0])
@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_the_kernel_has_the_numbers_of_the_readable_version(time):
    assert has_motion_kernel(moving())
    assert_close(moved_by_kernel(moving(), time), plain_moved(moving(dtype=torch.float64), time))


@pytest.mark.parametrize("name", [field.name for field in fields(Moving)])
@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_nan_stays_nan_as_in_the_readable_version(name):
    given = moving()
    getattr(given, name)[7] = float("nan")
    found, expected = moved_by_kernel(given, 0.5), plain_moved(given, 0.5)
    for field in fields(Moved):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert torch.equal(one.isnan(), other.isnan())


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_segments_that_learn_and_other_types_keep_the_readable_version():
    given = moving()
    learning = replace(given, omegas=given.omegas.clone().requires_grad_())
    assert not has_motion_kernel(learning)
    with torch.no_grad():
        assert has_motion_kernel(learning)
    assert not has_motion_kernel(replace(given, motion=given.motion.T.contiguous().T))
    assert not has_motion_kernel(moving(dtype=torch.float64))


@pytest.mark.cuda
@pytest.mark.parametrize("time", [0.0, 0.37, -2.0])
def test_the_kernel_on_a_gpu(time):
    assert has_motion_kernel(moving("cuda"))
    assert_close(moved_by_kernel(moving("cuda"), time), plain_moved(moving(dtype=torch.float64), time))


@torch.no_grad()
@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["sh", "lite", "full"])
def test_frames_without_gradients_are_those_with(kind):
    expert = three_segments(kind).cuda()
    for frame in (0, 5.5, 12, 20):
        found = expert.at(frame)
        with torch.enable_grad():
            expected = expert.at(frame)
        for field in fields(found):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other.detach(), atol=2e-6, rtol=2e-6)
