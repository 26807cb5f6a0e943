"""One pass of the CUDA back-end: the operators, and their arguments that are no tensors of Gaussians."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..types import RasterizerError
from .reports import MOST_INSTANCES, Mailbox, Report, mailbox

# Tensors in the operators' lists: csrc/cuda/ops.h.
PROJECTED, CARRIED, IMAGES, GRADIENTS = 4, 5, 5, 4  # a layer
SHARED = 4  # of all layers together, behind what was projected of each
INSTANCES = 2  # index among the lists
PLANES = 4  # images that are results


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops:
    """The operators, looked up by name once."""

    project: Any
    project_backward: Any
    bin: Any
    blend: Any
    blend_backward: Any


@functools.cache
def operators() -> Ops:
    """The operators of the loaded library."""
    library = torch.ops.moegs_rasterizer_cuda
    return Ops(
        project=library.project.default,
        project_backward=library.project_backward.default,
        bin=library.bin.default,
        blend=library.blend.default,
        blend_backward=library.blend_backward.default,
    )


def stream_of(device: torch.device) -> int:
    """Address of PyTorch's current stream on the device."""
    return int(torch.cuda.current_stream(device).cuda_stream)


def captured() -> bool:
    """True where kernels launched now are recorded in a CUDA graph instead of run."""
    return torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaPass:
    """Arguments of a pass that are no tensors of Gaussians."""

    views: Tensor  # [layers, doubles of View in csrc/layout.h] on the CPU
    options: Tensor  # [layers, 2] on the CPU
    width: int
    height: int
    first_layer: int
    deterministic: bool
    device: torch.device
    stream: int  # of PyTorch on the device: autograd runs a pass's backward on the stream of its forward

    @property
    def mailbox(self) -> Mailbox:
        """The reports of the pass's GPU."""
        return mailbox(self.device)

    def bin(
        self, carried: Sequence[Tensor], shared: Sequence[Tensor], capacity: int | None = None
    ) -> tuple[Any, Report | None]:
        """Tile lists with room for `capacity` instances (by default a guess), and the GPU's report, still to come."""
        rows = [tensor.shape[0] for tensor in carried[::CARRIED]]
        size = (self.width, self.height, len(rows), sum(rows).bit_length())
        in_graph = captured()
        mail, sequence = (self.mailbox.unread(), 0) if in_graph else self.mailbox.open()
        if capacity is None:
            capacity = self.mailbox.capacity(size, sum(rows))
        lists = operators().bin(carried, shared, mail, sequence, capacity, self.width, self.height, self.stream)
        if in_graph:
            return lists, None
        return lists, self.mailbox.sent(sequence, size=size, first_layer=self.first_layer, device=self.device)

    def bin_again(self, carried: Sequence[Tensor], shared: Sequence[Tensor], instances: int) -> Any:
        """Tile lists with room for so many instances; raises RasterizerError for more than lists can hold."""
        if instances > MOST_INSTANCES:
            raise RasterizerError(
                f"{instances} pairs of Gaussians and tiles are more than the CUDA back-end's gradients can list "
                f"({MOST_INSTANCES}); render fewer or smaller Gaussians, or fewer layers in one call"
            )
        lists, _ = self.bin(carried, shared, instances)
        return lists

    def blend(self, carried: Sequence[Tensor], shared: Sequence[Tensor], lists: Any, save: bool) -> list[Tensor]:
        """Images of all layers; with `save`, also the tensors that only a backward pass needs."""
        images: list[Tensor] = operators().blend(
            carried, shared, lists, self.options, self.width, self.height, save, self.stream
        )
        return images
