"""The identity, whose gradient runs out of memory as PyTorch, CUDA and its libraries tell it."""

from __future__ import annotations

import torch

PYTORCH = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.12 GiB is "
    "free.\nSee documentation for Memory Management"
)
FAULTS = {
    "allocator": torch.OutOfMemoryError(PYTORCH),
    "runtime": RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    "library": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}
WHAT_TO_DO = "end other processes on this GPU (nvidia-smi lists them), or use smaller images or fewer Gaussians"


class Exhausted(torch.autograd.Function):
    """Called on (value, fault); no fault: an ordinary gradient."""

    @staticmethod
    def forward(ctx, value, fault):
        ctx.fault = fault
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        if ctx.fault is not None:
            raise ctx.fault
        return gradient, None


def errors_of(captured: str) -> list[str]:
    """The lines of a command's error output that are errors; a traceback would have none."""
    return [line for line in captured.splitlines() if line.startswith("error: ")]
