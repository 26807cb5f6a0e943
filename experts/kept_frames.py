"""Gaussians of frames that are asked for again: kept as long as memory for them lasts, without rows that show nothing.

A frozen expert gives the same Gaussians for a frame every time. Both measures leave every bit of the images as it is;
with the readable back-end and the tiles of "inria", rows that show nothing change the last bits of sums.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import is_
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary

import torch
from moegs_rasterizer import Gaussians
from torch import Tensor, nn

from common.text.wording import bytes_text
from experts.base import Expert, Precision
from experts.canonical.precision import networks_in
from experts.windows.placement import home_of

logger = logging.getLogger(__name__)

LEAST_OPACITY = (1 - 1e-5) / 255  # below it no pixel takes a Gaussian; 1/255 less what rounding may add
WORTH_DROPPING = 0.25  # share of rows: fewer are not worth a copy of the others

LEAST_SPARE = 0.5  # of `most`, that must be free on the GPU for one more frame to be kept: other processes grow too

Dropping = Literal["never", "kept", "always"]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGaussians:
    """An expert's Gaussians at a frame, as they are splatted."""

    gaussians: Gaussians
    rows: Tensor | None = None  # [m] of `expert.rows(frame)`, the rows that they are; None: all


class ExpertFrames:
    """Gives experts' Gaussians at frames, computed or from an earlier call.

    most: bytes that kept frames may take, those of one expert a share of 1 / shares; 0: none is kept. What was kept
    first stays: a clip that is played in a circle would else push out each frame shortly before it comes again. drop:
    frames without the rows whose opacity is below 1/255; "always" waits for a GPU at every frame that was not kept.
    precision: of the experts' networks, "float32" for their own numbers. spare: tells how many bytes are free on the
    GPU by now, None where nobody knows: once other processes have taken them, no further frame is kept.
    """

    def __init__(
        self,
        *,
        most: int = 0,
        shares: int = 1,
        drop: Dropping = "kept",
        precision: Precision = "float32",
        spare: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.most, self.shares, self.drop, self.precision, self.spare = most, shares, drop, precision, spare
        self._kept: WeakKeyDictionary[nn.Module, _KeptFrames] = WeakKeyDictionary()

    def of(self, expert: Expert, frame: float, *, camera: int | None = None) -> FrameGaussians:
        """An expert's Gaussians at a frame, for a training camera's number; shared by all who ask: do not change them.

        Nothing is kept of an expert that is no module or that learns, nor what was kept before it changed: its tensors,
        or its own settings, such as the length of its clip. Steps on `.data` are not seen.
        """
        if self.most == 0 or not isinstance(expert, nn.Module):
            return self._computed(expert, frame, camera, drop=self.drop == "always")
        kept = self._kept.get(expert)
        if kept is None or not kept.holds():
            kept = self._kept[expert] = _KeptFrames(expert)
        moment = frame if getattr(expert, "same_for_all_cameras", False) else (frame, camera)
        found = kept.frames.get(moment)
        if found is None:
            drop = self.drop == "always" or (self.drop == "kept" and kept.has_room)
            with torch.inference_mode(mode=False), torch.no_grad():  # training uses what rendering has kept
                found = self.retried(partial(self._computed, expert, frame, camera, drop=drop))
            if kept.has_room:
                kept.keep(moment, found, room=self._room(kept))
        return found

    def _room(self, kept: _KeptFrames) -> int:
        """Bytes that one more frame of an expert may take; none from when on the GPU is short of memory."""
        spare = self.spare()
        if spare is not None and spare < LEAST_SPARE * self.most:
            self.most = self.bytes_kept()
            told = "no more frames of experts are kept than %s: other processes need the GPU's memory"
            logger.info(told, bytes_text(self.most))
        return min(self.most // self.shares - kept.used, self.most - self.bytes_kept())

    def retried(self, work: Callable[[], Made]) -> Made:
        """Work's result; where the GPU has no memory for it, it is done once more without kept frames.

        Raises torch.OutOfMemoryError where none were kept, or without them, too.
        """
        try:
            return work()
        except torch.OutOfMemoryError:
            if not self.release():
                raise
        return work()  # not within the except clause, whose error holds what the first attempt had made

    def release(self) -> bool:
        """Give the memory of kept frames back to the GPU, and keep none any more; tells whether there were any."""
        taken = self.bytes_kept()
        if not taken:
            return False
        for kept in self._kept.values():
            kept.give_up()
        self._kept, self.most = WeakKeyDictionary(), 0
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(
            "the GPU has no memory left: the frames of experts that were kept, %s, are computed anew from now on",
            bytes_text(taken),
        )
        return True

    def _computed(self, expert: Expert, frame: float, camera: int | None, *, drop: bool) -> FrameGaussians:
        with networks_in(self.precision):
            gaussians = expert.at(frame, camera=camera)
        return shown(gaussians) if drop else FrameGaussians(gaussians=gaussians)

    def bytes_kept(self) -> int:
        """Bytes that kept frames take."""
        return sum(kept.used for kept in self._kept.values())


COMPUTED = ExpertFrames()  # every frame anew, as the paper's code does


class _KeptFrames:
    """Frames of one expert, as long as neither its tensors nor its settings change."""

    def __init__(self, expert: nn.Module) -> None:
        self.frames: dict[Hashable, FrameGaussians] = {}
        self.used = 0
        self._slots = [vars(expert)] + [
            slots for module in expert.modules() for slots in (module._parameters, module._buffers, module._modules)
        ]
        self._content: list[object] = _values_of(self._slots)
        self._tensors = [*expert.parameters(), *expert.buffers()]
        self._frozen = not any(tensor.requires_grad or tensor.is_inference() for tensor in self._tensors)
        self.has_room = self._frozen
        self._state = self._now() if self._frozen else []
        self._aliases = [home_of(tensor).detach() for tensor in self._tensors]  # keep addresses from being used again
        self._storages = {tensor.untyped_storage().data_ptr() for tensor in self._aliases}

    def holds(self) -> bool:
        """True as long as nothing has changed since the first frame."""
        return self._frozen and self._has_its_parts() and self._now() == self._state

    def _has_its_parts(self) -> bool:
        """False where a tensor, a module or a setting such as the clip's length was replaced by another."""
        content = _values_of(self._slots)
        return len(content) == len(self._content) and all(map(is_, content, self._content))

    def _now(self) -> list[tuple[int, int, bool]]:
        return [(home_of(tensor).data_ptr(), tensor._version, tensor.requires_grad) for tensor in self._tensors]

    def keep(self, moment: Hashable, found: FrameGaussians, *, room: int) -> None:
        """Keeps a frame in so many bytes; tensors that several frames share are counted once.

        Where it has no room, none is tried any more: looking for rows to drop waits for a GPU each time.
        """
        storages = [
            tensor.untyped_storage()
            for tensor in (*tensors_of(found.gaussians).values(), found.rows)
            if tensor is not None
        ]
        new = {storage.data_ptr(): storage.nbytes() for storage in storages if storage.data_ptr() not in self._storages}
        self.has_room = sum(new.values()) <= room
        if self.has_room:
            self.frames[moment] = found
            self.used += sum(new.values())
            self._storages |= new.keys()

    def give_up(self) -> None:
        """Let go of all frames, and keep none any more: who tries again for one still holds this object."""
        self.frames.clear()
        self.has_room = False


def _values_of(slots: Iterable[Mapping[str, object]]) -> list[object]:
    return [value for each in slots for value in each.values()]


def shown(gaussians: Gaussians) -> FrameGaussians:
    """The Gaussians without those that no pixel takes because of their opacity; waits for a GPU.

    Rows with values that are not finite stay, so that the rasterizer tells of them.
    """
    tensors = tensors_of(gaussians)
    faint = gaussians.opacities < LEAST_OPACITY  # not of NaN
    sums = [tensor.flatten(1).sum(1) for tensor in tensors.values() if tensor.ndim > 1]
    rows = torch.nonzero(~(faint & torch.stack(sums).sum(0).isfinite()))[:, 0]
    if len(rows) > (1 - WORTH_DROPPING) * gaussians.count:
        return FrameGaussians(gaussians=gaussians)
    left = {name: tensor.index_select(0, rows) for name, tensor in tensors.items()}
    return FrameGaussians(gaussians=replace(gaussians, **left), rows=rows)


def tensors_of(gaussians: Gaussians) -> dict[str, Tensor]:
    """The tensors that are there, by name."""
    values = {each.name: getattr(gaussians, each.name) for each in fields(gaussians)}
    return {name: value for name, value in values.items() if value is not None}
