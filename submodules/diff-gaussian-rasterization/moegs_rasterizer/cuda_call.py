"""One pass of the CUDA back-end: its operators, and what they need besides tensors of Gaussians."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .cuda_reports import MOST_INSTANCES, Mailbox, Report, mailbox
from .types import RasterizerError

# Tensors in the operators' lists: csrc/cuda/ops.h.
PROJECTED, CARRIED, IMAGES, GRADIENTS = 4, 5, 5, 4  # a layer
SHARED = 4  # of all layers together, behind what was projected of each
INSTANCES = 2  # place among the lists
PLANES = 4  # images that are results


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops:
    """The operators, found by name once."""

    project: Any
    project_backward: Any
    bin: Any
    blend: Any
    blend_backward: Any


@functools.cache
def operators() -> Ops:
    found = torch.ops.moegs_rasterizer_cuda
    return Ops(
        project=found.project.default,
        project_backward=found.project_backward.default,
        bin=found.bin.default,
        blend=found.blend.default,
        blend_backward=found.blend_backward.default,
    )


def stream_of(device: torch.device) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream)


def captured() -> bool:
    """Whether what is launched now is recorded in a CUDA graph instead of run."""
    return torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a pass needs besides tensors of Gaussians."""

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
        return mailbox(self.device)

    def bin(
        self, carried: Sequence[Tensor], shared: Sequence[Tensor], capacity: int | None = None
    ) -> tuple[Any, Report | None]:
        """Tile lists with room for `capacity` instances (by default a guess), and what the GPU will say of them."""
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
        """Tile lists with room for what the GPU found; raises RasterizerError where lists cannot hold as many."""
        if instances > MOST_INSTANCES:
            raise RasterizerError(
                f"{instances} pairs of Gaussians and tiles are more than the CUDA back-end's gradients can list "
                f"({MOST_INSTANCES}); render fewer or smaller Gaussians, or fewer layers in one call"
            )
        lists, _ = self.bin(carried, shared, instances)
        return lists

    def blend(self, carried: Sequence[Tensor], shared: Sequence[Tensor], lists: Any, save: bool) -> list[Tensor]:
        images: list[Tensor] = operators().blend(
            carried, shared, lists, self.options, self.width, self.height, save, self.stream
        )
        return images
