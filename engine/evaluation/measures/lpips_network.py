"""LPIPS (Zhang et al. 2018), version 0.1, on networks of our own, weights from `lpips_weights`.

torchmetrics, piq and lpips need torchvision, and two of them download weights; this runs offline and without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from engine.settings.rendering.metric_protocols import LpipsNet

# ImageNet statistics of inputs in [-1, 1]
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10  # keeps the length of an all-zero feature vector from dividing by zero

# Feature stages per network: rows of (in, out, kernel, stride, padding), pooling before every stage but the first.
STAGES: dict[LpipsNet, tuple[tuple[tuple[int, int, int, int, int], ...], ...]] = {
    "alex": (
        ((3, 64, 11, 4, 2),),
        ((64, 192, 5, 1, 2),),
        ((192, 384, 3, 1, 1),),
        ((384, 256, 3, 1, 1),),
        ((256, 256, 3, 1, 1),),
    ),
    "vgg": (
        ((3, 64, 3, 1, 1), (64, 64, 3, 1, 1)),
        ((64, 128, 3, 1, 1), (128, 128, 3, 1, 1)),
        ((128, 256, 3, 1, 1), (256, 256, 3, 1, 1), (256, 256, 3, 1, 1)),
        ((256, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)),
        ((512, 512, 3, 1, 1), (512, 512, 3, 1, 1), (512, 512, 3, 1, 1)),
    ),
}
POOLED_STAGES: dict[LpipsNet, tuple[int, ...]] = {"alex": (1, 2), "vgg": (1, 2, 3, 4)}
POOL_KERNEL: dict[LpipsNet, int] = {"alex": 3, "vgg": 2}
SMALLEST: dict[LpipsNet, int] = {"alex": 31, "vgg": 16}  # pixels a side: below it a stage has no pixel left


def feature_names(net: LpipsNet) -> tuple[str, ...]:
    """torchvision's names of the convolutions, "features.0" and so on, in order."""
    names, index = [], 0
    for number, stage in enumerate(STAGES[net]):
        index += number in POOLED_STAGES[net]
        for _ in stage:
            names.append(f"features.{index}")
            index += 2  # the convolution and its ReLU
    return tuple(names)


class Lpips(nn.Module):
    """The learned perceptual distance of images [3, h, w], which LPIPS was trained with in the range [-1, 1].

    weights: `features.N.weight` and `.bias` with torchvision's numbers, `lin0` ... `lin4` of any shape with one value
    per channel; raises ValueError if one is missing or has another size.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: LpipsNet, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.net = net
        specs = [spec for stage in STAGES[net] for spec in stage]
        self.convolutions = nn.ModuleList(
            _convolution(spec, name, weights) for spec, name in zip(specs, feature_names(net), strict=True)
        )
        for level, stage in enumerate(STAGES[net]):
            self.register_buffer(f"lin{level}", _weight(weights, f"lin{level}", (1, stage[-1][1], 1, 1)))
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length features [1, c, h', w'] of an image [3, h, w] after every stage."""
        smallest = SMALLEST[self.net]
        if min(image.shape[-2:]) < smallest:
            raise ValueError(f"LPIPS({self.net}) needs images of {smallest} pixels a side, got {tuple(image.shape)}")
        x = (image[None] - self.shift) / self.scale
        if x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)  # convolutions take a fifth less time
        convolutions = iter(self.convolutions)
        taps = []
        for number, stage in enumerate(STAGES[self.net]):
            if number in POOLED_STAGES[self.net]:
                x = nn.functional.max_pool2d(x, POOL_KERNEL[self.net], 2)
            for _ in stage:
                x = torch.relu_(next(convolutions)(x))
            taps.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPSILON))
        return taps

    def levels(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
        """Distances [h', w'] after every stage, from two images' `features`; LPIPS is the sum of their means."""
        return [
            torch.einsum("nchw,c->nhw", (fa - fb).square_(), getattr(self, f"lin{level}").flatten())[0]
            for level, (fa, fb) in enumerate(zip(a, b, strict=True))
        ]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS of two images [3, h, w]; a scalar."""
        return torch.stack([level.mean() for level in self.levels(self.features(a), self.features(b))]).sum()


def _convolution(spec: tuple[int, int, int, int, int], name: str, weights: Mapping[str, Tensor]) -> nn.Conv2d:
    channels_in, channels_out, kernel, stride, padding = spec
    layer = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
    layer.weight.data = _weight(weights, f"{name}.weight", (channels_out, channels_in, kernel, kernel))
    layer.bias.data = _weight(weights, f"{name}.bias", (channels_out,))  # type: ignore[union-attr]
    return layer


def _weight(weights: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in weights:
        raise ValueError(f"LPIPS weights lack {name}")
    tensor = weights[name].float()
    if tensor.numel() != torch.Size(shape).numel():
        raise ValueError(f"LPIPS weight {name} has shape {tuple(tensor.shape)}, expected {shape}")
    return tensor.reshape(shape).contiguous()
