"""Loads the compiled CUDA library."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from ..compile import cuda_library
from ..types import RasterizerError


@functools.cache
def unavailable_reason() -> str | None:
    """The reason why the CUDA back-end cannot run here, or None; the first call compiles the library where needed."""
    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return (
            f"PyTorch {torch.__version__}, {built}, finds no NVIDIA GPU; see whether nvidia-smi lists one, and install "
            "a PyTorch with CUDA from https://pytorch.org/get-started/locally"
        )
    try:
        path = cuda_library.library().path
        torch.ops.load_library(str(path))
    except RasterizerError as error:
        return str(error)
    except RuntimeError as error:  # PyTorch's, where the driver answers with an error
        return f"the GPU cannot be used: {error}; see what nvidia-smi says"
    except OSError as error:
        return f"cannot load {path}: {error}; delete it to have it built again"
    return None


def library() -> Path:
    """Path of the compiled library; raises RasterizerError where the CUDA back-end cannot run here."""
    reason = unavailable_reason()
    if reason is not None:
        raise RasterizerError(f'backend="cuda" cannot run here: {reason}')
    return cuda_library.library().path
