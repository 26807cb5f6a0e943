"""Windows on a device: the models that are shown lie there, all others on the host.

A clip's windows take the memory of two of them, however many there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import cast

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from experts.base import Expert

AT_ONCE = 2  # models on the device: those of a seam
RGB = 3  # channels of splats that are colours as they are

_homes: WeakIdKeyDictionary = WeakIdKeyDictionary()  # tensors on a device -> their values on the host


class Placement:
    """Copies models to a device when they are used, in place of those that were not used for longest.

    to_device: copies a tensor of the host. Values on the host stay there, so a model that leaves is not copied, unless
    its tensors were changed or replaced on the device.
    """

    def __init__(self, to_device: Callable[[Tensor], Tensor]) -> None:
        self._to_device = to_device
        self._shown: OrderedDict[nn.Module, list[tuple[Tensor, int]]] = OrderedDict()  # with versions of their tensors

    def show(self, model: nn.Module) -> None:
        """Sees to it that a model's tensors are on the device."""
        if model in self._shown:
            self._shown.move_to_end(model)
            return
        while len(self._shown) >= AT_ONCE:
            self._withdraw(next(iter(self._shown)))
        tensors = _tensors(model)
        for tensor in tensors:
            _homes[tensor] = tensor.data
            tensor.data = self._to_device(tensor.data)
        self._shown[model] = [(tensor, tensor._version) for tensor in tensors]

    def _withdraw(self, model: nn.Module) -> None:
        known = {id(tensor): version for tensor, version in self._shown.pop(model)}
        for tensor in _tensors(model):
            home = _homes.pop(tensor, None)
            unchanged = home is not None and known.get(id(tensor)) == tensor._version
            tensor.data = home if unchanged else tensor.data.cpu()


def placement_on(device: torch.device) -> Placement:
    """A placement on a GPU. Memory of the host from which it copies is to be pinned: see `pinned`."""
    return Placement(partial(Tensor.to, device=device, non_blocking=True))


def pin(model: nn.Module) -> None:
    """Puts a model's tensors into pinned memory, from which a GPU copies while the host goes on."""
    for tensor in _tensors(model):
        tensor.data = tensor.data.pin_memory()


def home_of(tensor: Tensor) -> Tensor:
    """A tensor's values on the host, where it is of a model that is placed; else the tensor itself.

    They have the same address, wherever the model lies.
    """
    return cast(Tensor, _homes.get(tensor, tensor))


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


class PlacedExpert(nn.Module):
    """A model that is on the device whenever it computes; what is known without its tensors is asked of it at once."""

    def __init__(self, model: Expert, placement: Placement) -> None:
        super().__init__()
        self.model = cast(nn.Module, model)
        self.background, self.provenance = model.background, model.provenance
        self.same_for_all_cameras = bool(getattr(model, "same_for_all_cameras", False))
        self._placement = placement

    @property
    def _expert(self) -> Expert:
        return cast(Expert, self.model)

    @property
    def name(self) -> str:
        return self._expert.name

    @name.setter
    def name(self, name: str) -> None:
        self._expert.name = name

    @property
    def num_gaussians(self) -> int:
        return self._expert.num_gaussians

    @property
    def settings(self) -> RasterSettings:
        return self._expert.settings

    def rows(self, frame: float) -> slice:
        """As the model."""
        return self._expert.rows(frame)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """As the model, on the device; its own tensors, which go from there, are not among them."""
        self._placement.show(self.model)
        gaussians = self._expert.at(frame, camera=camera)
        tensors = {each.name: getattr(gaussians, each.name) for each in fields(gaussians)}
        own = {name: tensor.detach() for name, tensor in tensors.items() if isinstance(tensor, nn.Parameter)}
        return replace(gaussians, **own)

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """As the model, on the device where it decodes colours."""
        if len(self.background) != RGB:
            self._placement.show(self.model)
        return self._expert.colour(splat, camera, frame=frame)
