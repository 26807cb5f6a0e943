"""Tensors made from other things and the other way: numbers, 8-bit images, hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make a tensor [n] of numbers, once: copying them to a GPU waits until it has done everything before."""
    with torch.inference_mode(False):  # autograd keeps no tensor that was made in it
        return torch.tensor(values, dtype=dtype, device=device)


def from_uint8(values: Tensor) -> Tensor:
    """Convert 8-bit values of any shape to float32 in [0, 1], on the same device and in the same memory order."""
    return values.to(torch.float32).div_(255)


def image_from_uint8(pixels: Tensor, *, contiguous: bool = True) -> Tensor:
    """Convert an image [h, w, 3] of 8-bit values to float32 [3, h, w] in [0, 1], on the same device.

    contiguous: lie in memory channel after channel, as training reads images; else pixel after pixel, as `pixels` does.
    Sums over the image may differ between the two in their last bits.
    """
    order = torch.contiguous_format if contiguous else torch.preserve_format
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=order).div_(255)


def quantised(values: Tensor) -> Tensor:
    """Convert values in [0, 1] of any shape to 8 bits: clamped, rounded to nearest."""
    return _steps(values).byte()


def rounded_to_uint8(values: Tensor) -> Tensor:
    """Convert values of any shape to those that 8 bits would keep, in [0, 1] and of the same type; NaN stays NaN."""
    return _steps(values).div_(255)


def _steps(values: Tensor) -> Tensor:
    return values.clamp(0, 1).mul_(255).round_()


def to_uint8(image: Tensor) -> np.ndarray:
    """Convert an image [3, h, w] or [h, w] in [0, 1] to uint8 [h, w, 3] or [h, w]: clamped, rounded to nearest."""
    return all_to_uint8([image])[0]


def all_to_uint8(images: Sequence[Tensor]) -> list[np.ndarray]:
    """Convert images of one device, each as `to_uint8` does; one copy brings all of them from a GPU."""
    pixels = [quantised(image.detach()) for image in images]
    pixels = [(each.permute(1, 2, 0) if each.ndim == 3 else each).contiguous() for each in pixels]
    values = pixels[0].flatten() if len(pixels) == 1 else torch.cat([each.flatten() for each in pixels])
    if values.is_cuda:  # a copy to memory of other kinds takes several times as long
        values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    parts = values.cpu().split([each.numel() for each in pixels])
    return [part.view(each.shape).numpy() for part, each in zip(parts, pixels, strict=True)]


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Compute SHA-256 over names, types, shapes and bytes of tensors, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
