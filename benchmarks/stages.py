"""Where the time of a training step goes: the stages of the training loop itself, timed from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any

import torch
from moegs_rasterizer import Layer, Splat
from torch import Tensor

from engine.runs.run import Run

DATA = "data to the device"
RASTERIZE = "rasterize, forward"
ROUTER = "router's weights, head, blend"
L1, SSIM = "loss: L1", "loss: SSIM"
BACKWARD_RASTERIZE, BACKWARD = "backward: rasterize", "backward: the rest"
OPTIMISER = "optimiser"
REST = "the loop's rest"


def stages(run: Run) -> tuple[str, ...]:
    """Every stage of a run's training step, in the order of their start."""
    experts = (_at(expert.name) for expert in run.experts)
    return DATA, *experts, RASTERIZE, ROUTER, L1, SSIM, BACKWARD, BACKWARD_RASTERIZE, OPTIMISER, REST


def _at(expert: str) -> str:
    return f"{expert} at a frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Milliseconds between two marks."""

    device: float  # on a GPU from event to event, its waiting for the host included
    host: float  # until the host had asked for the work; on a CPU the same as `device`


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """From here on, time belongs to a stage of an iteration."""

    iteration: int
    stage: str
    seconds: float
    event: torch.cuda.Event | None


class Timeline:
    """Marks without gaps, so that an iteration's stages add up to its whole time; the GPU is not waited for."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[_Mark] = []
        self._iteration = 0
        self.stage = REST

    def begin_iteration(self) -> None:
        """An iteration begins with its data."""
        self._iteration += 1
        self.begin(DATA)

    def begin(self, stage: str) -> None:
        """Ends the stage that is under way and begins another."""
        event = torch.cuda.Event(enable_timing=True) if self._on_gpu else None
        if event is not None:
            event.record(torch.cuda.current_stream())
        self._marks.append(_Mark(iteration=self._iteration, stage=stage, seconds=time.perf_counter(), event=event))
        self.stage = stage

    def iterations(self) -> list[dict[str, Spent]]:
        """Time by stage of every iteration between the first and the last mark; waits for the GPU."""
        if self._on_gpu:
            torch.cuda.synchronize()
        found: dict[int, dict[str, Spent]] = {}
        for mark, following in zip(self._marks, self._marks[1:], strict=False):
            host = 1000 * (following.seconds - mark.seconds)
            device = host
            if mark.event is not None and following.event is not None:
                device = mark.event.elapsed_time(following.event)
            spent = found.setdefault(mark.iteration, {})
            before = spent.get(mark.stage, Spent(device=0.0, host=0.0))
            spent[mark.stage] = Spent(device=before.device + device, host=before.host + host)
        return list(found.values())


@contextmanager
def instrumented(run: Run, optimiser: torch.optim.Optimizer, timeline: Timeline) -> Iterator[None]:
    """While it lasts, the functions that the training loop calls mark their start and end."""
    stage, steps = _Stages(timeline), import_module("engine.training.router_steps")
    seams: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (
            import_module("engine.training.router_steps"),
            "mix_camera",
            lambda call: stage.over(ROUTER, call, after=REST),
        ),
        (steps, "photometric", stage.loss),
        (import_module("losses.photometric_loss"), "ssim", lambda call: stage.over(SSIM, call)),
        (import_module("router.router"), "rasterize", stage.rasterizer),
        *((expert, "at", stage.expert(expert.name)) for expert in run.experts),
    ]
    with ExitStack() as stack:
        for owner, name, wrap in seams:
            stack.enter_context(_replaced(owner, name, wrap))
        for handle in (
            optimiser.register_step_pre_hook(lambda *_: timeline.begin(OPTIMISER)),
            optimiser.register_step_post_hook(lambda *_: timeline.begin(REST)),
        ):
            stack.callback(handle.remove)
        yield


class _Stages:
    """Wrappers of functions, which tell a timeline where their stages begin and end."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def over(self, stage: str, call: Callable[..., Any], *, after: str | None = None) -> Callable[..., Any]:
        """The call as a stage; then `after` begins, or what was under way goes on."""

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = self._timeline.stage
            self._timeline.begin(stage)
            try:
                return call(*args, **kwargs)
            finally:
                self._timeline.begin(before if after is None else after)

        return timed

    def expert(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda call: self.over(_at(name), call)

    def loss(self, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The photometric loss, whose gradient is the first of the backward pass."""
        timed = self.over(L1, call, after=REST)

        @wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Tensor:
            loss: Tensor = timed(*args, **kwargs)
            self._begin_with_gradient([loss], BACKWARD)
            return loss

        return watched

    def rasterizer(self, call: Callable[..., list[Splat]]) -> Callable[..., list[Splat]]:
        """The rasterizer, which goes backward between its images' gradients and its features'."""
        timed = self.over(RASTERIZE, call)

        @wraps(call)
        def watched(layers: Sequence[Layer], *args: Any, **kwargs: Any) -> list[Splat]:
            splats: list[Splat] = timed(layers, *args, **kwargs)
            self._begin_with_gradient([splat.features for splat in splats], BACKWARD_RASTERIZE)
            self._begin_with_gradient([layer.features for layer in layers], BACKWARD)
            return splats

        return watched

    def _begin_with_gradient(self, tensors: Iterable[Tensor | None], stage: str) -> None:
        """The stage begins as soon as one of the tensors has its gradient."""
        begun = False

        def hook(_gradient: Tensor) -> None:
            nonlocal begun
            if not begun:
                self._timeline.begin(stage)
            begun = True

        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                tensor.register_hook(hook)


@contextmanager
def _replaced(owner: Any, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """An attribute wrapped for a while, of a module or of one object."""
    original, own = getattr(owner, name), name in vars(owner)
    setattr(owner, name, wrap(original))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)
