"""Losses on a GPU: the numbers of float64 on the CPU."""

from __future__ import annotations

import pytest
import torch

from losses import ssim_map

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("size", [(96, 128), (45, 61), (3, 5)])
def test_ssim_is_that_of_the_cpu(size):
    a, b = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    found = ssim_map(a.cuda(), b.cuda()).cpu()
    # Seen with float32 on a CPU: 4e-6
    torch.testing.assert_close(found.double(), ssim_map(a.double(), b.double()), atol=2e-5, rtol=0)
