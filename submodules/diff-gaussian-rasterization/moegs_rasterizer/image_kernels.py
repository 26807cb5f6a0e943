"""The kernels of the CUDA library beside the rasterizer: gates and blend, the photometric loss, Gaussians that move."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .faults import telling


def kernels(like: Tensor) -> Any:
    """The operators of `operators` for a tensor; None where it is not float32 on a GPU that has them."""
    if not like.is_cuda or like.dtype != torch.float32:
        return None
    from . import cuda  # here, because asking may compile it

    return None if cuda.unavailable_reason() else operators()


@functools.cache
def operators() -> SimpleNamespace:
    """The operators of csrc/cuda/ops_images.cpp and ops_motion.cpp in the loaded library."""
    library = torch.ops.moegs_rasterizer_cuda
    names = ("blend_gates", "blend_gates_backward", "photometric", "photometric_backward", "moved")
    return SimpleNamespace(**{name: telling(library, getattr(library, name)) for name in names})


def stream_of(like: Tensor) -> int:
    """Address of the stream on which PyTorch works with a tensor."""
    return int(torch.cuda.current_stream(like.device).cuda_stream)
