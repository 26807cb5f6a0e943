"""The ideas for faster frames and training steps, each with what was predicted of it for an H200 before measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch

from engine.runs.device import spare_memory
from engine.runs.experts.kept_frames import SHARE
from engine.runs.run import Run
from experts.base import Expert, Precision
from experts.kept_frames import ExpertFrames, FrameGaussians

CPU_MEMORY = 2**28  # bytes for kept frames where a GPU does not say how much is free
PLAIN: dict[str, tuple[str, Any]] = {  # choices of fused kernels, each with what takes the readable version instead
    "gates": ("router.mixing.has_gates_kernel", lambda *_: False),
    "loss": ("losses.photometric_loss.has_loss_kernel", lambda *_: False),
    "radam": ("engine.training.router.schedule.FusedRAdam", torch.optim.RAdam),
    "motion": ("experts.stg.model.has_motion_kernel", lambda *_: False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """A row of the table; frame and step: milliseconds predicted for E4 on an H200, None where it has no part."""

    name: str
    frame: float | None = None
    step: float | None = None
    kept: bool = False  # frames of experts that all cameras share are kept
    kept_by_camera: bool = False  # E-D3DGS's, too
    dropped: bool = False  # rows without opacity, at every frame
    precision: Precision = "float32"
    fused: tuple[str, ...] = ()  # of PLAIN
    graph: bool = False


KERNELS = Idea(name="these three kernels", frame=8.3, step=8.3, fused=("gates", "loss", "radam"))
EXACT = replace(
    KERNELS, name="exact ones together", frame=2.0, step=4.5, kept=True, kept_by_camera=True, fused=tuple(PLAIN)
)
STEP = replace(EXACT, name="exact ones, not E-D3DGS's frames", frame=6.0, step=6.5, kept_by_camera=False)
IDEAS = (
    Idea(name="baseline", frame=9.1, step=11.4),
    Idea(name="frames kept, not E-D3DGS's", frame=6.5, step=9.5, kept=True),
    Idea(name="all frames kept", frame=3.0, step=7.5, kept=True, kept_by_camera=True),
    Idea(name="rows without opacity dropped", frame=9.4, dropped=True),
    Idea(name="networks in TF32", frame=7.5, step=9.0, precision="tf32"),
    Idea(name="networks in float16", frame=7.0, step=8.5, precision="float16"),
    Idea(name="gates and blend as one kernel", frame=8.3, step=9.8, fused=("gates",)),
    Idea(name="loss as one kernel", step=10.2, fused=("loss",)),
    Idea(name="RAdam by a fused kernel", step=11.0, fused=("radam",)),
    Idea(name="STG's motion as one kernel", frame=7.5, step=10.9, fused=("motion",)),
    KERNELS,
    STEP,
    EXACT,
    replace(EXACT, name="and a CUDA graph", frame=1.4, step=None, graph=True),
    replace(KERNELS, name="kernels, kept, float16", frame=4.5, step=5.5, kept=True, precision="float16"),
)


class _SharedFrames(ExpertFrames):
    """Keeps frames of the experts that are the same for all cameras: more cameras and frames than memory holds."""

    def of(self, expert: Expert, frame: float, *, camera: int | None = None) -> FrameGaussians:
        if getattr(expert, "same_for_all_cameras", False):
            return super().of(expert, frame, camera=camera)
        return self._computed(expert, frame, camera, drop=False)


def source_of(run: Run, idea: Idea) -> ExpertFrames:
    """The source of the experts' Gaussians that an idea asks for."""
    if idea.kept:
        return kept_frames(run, ExpertFrames if idea.kept_by_camera else _SharedFrames, precision=idea.precision)
    return ExpertFrames(drop="always" if idea.dropped else "never", precision=idea.precision)


def kept_frames(run: Run, kind: Callable[..., ExpertFrames], *, precision: Precision = "float32") -> ExpertFrames:
    """A source that keeps frames in the memory that a run would give it."""
    spare = spare_memory(run.device)
    most = CPU_MEMORY if spare is None else int(SHARE * spare)
    return kind(most=most, shares=len(run.experts), precision=precision)


@contextmanager
def choices(idea: Idea) -> Iterator[None]:
    """Takes the readable versions of the kernels that an idea is without."""
    with ExitStack() as patches:
        for name, (choice, plain) in PLAIN.items():
            if name not in idea.fused:
                patches.enter_context(mock.patch(choice, plain))
        yield
