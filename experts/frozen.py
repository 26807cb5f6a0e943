"""Values of frozen models that are the same at every frame, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


class FrozenCache(Generic[Value]):
    """A value computed from tensors, kept as long as none of them changes or asks for gradients.

    A change is another storage (`.to`, `.data = …`) or a step of PyTorch's version counter, which every in-place
    operation makes but those on `.data`. Copies and pickles of an owner start without the value.
    """

    def __init__(self) -> None:
        self._sources: list[tuple[Tensor, int]] = []  # aliases, which keep an old address from being used again
        self._value: Value | None = None

    def of(self, sources: Sequence[Tensor], compute: Callable[[], Value]) -> Value:
        """The kept value, or what `compute` makes of the sources now."""
        if any(source.requires_grad or source.is_inference() for source in sources):
            self._sources, self._value = [], None
            return compute()
        if self._value is None or not self._unchanged(sources):
            with torch.inference_mode(False), torch.no_grad():
                self._value = compute()
            self._sources = [(source.detach(), source._version) for source in sources]
        return self._value

    def _unchanged(self, sources: Sequence[Tensor]) -> bool:
        return len(sources) == len(self._sources) and all(
            source.data_ptr() == kept.data_ptr() and source.shape == kept.shape and source._version == version
            for source, (kept, version) in zip(sources, self._sources, strict=True)
        )

    def __reduce__(self) -> tuple[type[FrozenCache[Value]], tuple[()]]:
        return type(self), ()
