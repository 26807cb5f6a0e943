"""The CUDA kernels beside the rasterizer on tensors of the CPU, by the rasterizer's own player of a GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from moegs_rasterizer.image_kernels import operators
from torch import Tensor

import experts.stg.motion_cuda
import losses.photometric_cuda
import router.gates_cuda

PLAYER = Path(__file__).parents[1] / "submodules/diff-gaussian-rasterization/tests/kernels_on_cpu/player.py"


@pytest.fixture
def kernels_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets float32 tensors of the CPU use the kernels; skips the test without a compiler, or where a GPU has them."""
    spec = importlib.util.spec_from_file_location("kernels_on_cpu_player", PLAYER)
    assert spec is not None and spec.loader is not None
    player = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(player)
    player.mailbox()

    def kernels(like: Tensor) -> object:
        return operators() if like.dtype == torch.float32 else None

    for module in (experts.stg.motion_cuda, losses.photometric_cuda, router.gates_cuda):
        monkeypatch.setattr(module, "kernels", kernels)
        monkeypatch.setattr(module, "stream_of", lambda like: 0)
