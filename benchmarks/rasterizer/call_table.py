"""The GPU's table of single calls: what a call takes beside its kernels, and how long the host is busy with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from unittest import mock

import torch
from moegs_rasterizer import RawGaussians, RawLayer, rasterize
from moegs_rasterizer.activation import activated_layer
from moegs_rasterizer.cuda import autograd
from moegs_rasterizer.types import Grad, Layer
from torch import Tensor

from benchmarks.rasterizer.kernel_stages import device_times, profiled
from benchmarks.rasterizer.machine import describe
from benchmarks.rasterizer.measurement import Timing, Work, measure, synchronise
from benchmarks.rasterizer.plans import Frame, leaf, outputs, render, together, trained_like_frame, work_of

SETS = 2  # of inputs, in turn
PROFILED_RUNS = 8 * SETS
MOST_BESIDE = 0.15  # milliseconds that a single call may take beside its kernels
HEADINGS = ("call", "kernels", "one at a time", "beside its kernels", "back to back", "host busy")
FULL = "forward + full backward"
STEPS: dict[str, Grad] = {"forward": "none", FULL: "full"}
_WAITING = partial(mock.patch.object, autograd, autograd.launches_early.__name__, lambda: False)
_ONE_THREAD = partial(torch.autograd.set_multithreading_enabled, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """Times of one kind of call, milliseconds."""

    stages: Mapping[str, float]  # of the kernels; empty where the profiler saw none
    timing: Timing
    host: float  # until the call has returned, the device idle before it

    @property
    def kernels(self) -> float | None:
        """Milliseconds of all kernels; None where the profiler saw none."""
        return sum(self.stages.values()) if self.stages else None

    @property
    def beside(self) -> float | None:
        """Milliseconds that a single call takes longer than its kernels; None where those are not known."""
        return None if self.kernels is None else self.timing.single.median - self.kernels


def print_call_table(device: torch.device, *, counts: Sequence[int], size: tuple[int, int], repeats: int) -> None:
    """Print the table for one layer of each count, and for passes replayed from a CUDA graph."""
    print(describe(device))
    print(
        f"One layer, spherical harmonics of degree 3, {size[0]}x{size[1]} px; medians of {repeats} runs, milliseconds "
        "by device events; host busy: until the call has returned, by the host's clock; one at a time: the device is "
        "idle before each run."
    )
    seen: dict[str, CallTimes] = {}
    for count in counts:
        frames = [
            trained_like_frame(count=count, layers=1, features=0, size=size, seed=index, device=device)
            for index in range(SETS)
        ]
        for name, case in _cases(frames, device):
            with case.choices():
                seen[f"{count:,}, {name}"] = _timed(case.work, device, repeats)
        if device.type == "cuda":
            print(f"{count:,}: half precision gives {_half_psnr(frames[0]):.1f} dB to float32's image")
    print("\n" + call_markdown([call_row(name, times) for name, times in seen.items()]) + "\n")
    for name, times in seen.items():
        print(f"{name}: " + "; ".join(f"{stage} {time:.4f}" for stage, time in times.stages.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A row: its work, and the choices that hold while it is timed."""

    work: Work
    choices: Callable[[], AbstractContextManager[object]] = nullcontext


def _cases(frames: Sequence[Frame], device: torch.device) -> Iterator[tuple[str, _Case]]:
    """The rows of one size, by name."""
    forward, full = (work_of(frames, together(grad)) for grad in STEPS.values())
    raw = [raw_layer(frame.layers[0]) for frame in frames]
    yield "forward", _Case(work=forward)
    yield FULL, _Case(work=full)
    yield f"{FULL}, raw, activated by PyTorch", _Case(work=_raw_work(frames, raw, activate=activated_layer))
    yield f"{FULL}, raw, activated by the kernels", _Case(work=_raw_work(frames, raw))
    if device.type == "cuda":
        yield f"{FULL}, launched once the forward pass has reported", _Case(work=full, choices=_WAITING)
        yield f"{FULL}, on the caller's thread", _Case(work=full, choices=_ONE_THREAD)
        yield f"{FULL} in a CUDA graph", _Case(work=_replayed(full))
        yield f"{FULL}, raw, in a CUDA graph", _Case(work=_replayed(_raw_work(frames, raw)))
        yield "forward in a CUDA graph", _Case(work=_replayed(forward))
        half = work_of(frames, together("none", "cuda-half"))
        yield "forward in half precision", _Case(work=half)
        yield "the same in a CUDA graph", _Case(work=_replayed(half))


def _half_psnr(frame: Frame) -> float:
    """PSNR of the image in half precision to the one in float32, in dB."""
    exact, half = (
        render(together("none", backend)(frame.layers), frame.camera)[0] for backend in ("cuda", "cuda-half")
    )
    return float(-10 * torch.log10((half.colour - exact.colour).double().square().mean()))


def call_row(name: str, times: CallTimes) -> tuple[str, ...]:
    """A line's cells in the order of HEADINGS."""
    single, queued = times.timing.single, times.timing.queued
    if times.kernels is None or times.beside is None:
        return (name, "not seen", str(single), "unknown", str(queued), f"{times.host:.3f}")
    verdict = "met" if times.beside <= MOST_BESIDE else "missed"
    beside = f"{times.beside:.3f}; goal at most {MOST_BESIDE:g}: {verdict}"
    return (name, f"{times.kernels:.3f}", str(single), beside, str(queued), f"{times.host:.3f}")


def call_markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """The table in Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def raw_layer(layer: Layer) -> RawLayer:
    """The layer with raw Gaussians, leaves that record gradients."""
    given = layer.gaussians
    assert given.sh is not None
    raw = RawGaussians(
        means=leaf(given.means),
        log_scales=leaf(given.scales.log()),
        quats=leaf(given.quats),
        opacity_logits=leaf(given.opacities.logit()),
        sh_dc=leaf(given.sh[:, :1]),
        sh_rest=leaf(given.sh[:, 1:]),
    )
    return RawLayer(gaussians=raw, settings=layer.settings, background=layer.background)


def _raw_work(
    frames: Sequence[Frame],
    layers: Sequence[RawLayer],
    *,
    activate: Callable[[RawLayer], Layer | RawLayer] = lambda layer: layer,
) -> Work:
    """The passes forward and backward from raw parameters."""

    def forward(index: int) -> list[Tensor]:
        return outputs(rasterize([activate(layers[index])], frames[index].camera, grad="full"))

    def backward(index: int, images: list[Tensor]) -> None:
        raw = layers[index].gaussians
        leaves = [getattr(raw, field.name) for field in fields(raw)]
        torch.autograd.grad(images, leaves, frames[index].upstream[: len(images)].unbind(0))

    return Work(forward=forward, backward=backward)


def _timed(work: Work, device: torch.device, repeats: int) -> CallTimes:
    timing, _ = measure(work, device, sets=SETS, repeats=repeats)
    seen = profiled(work, sets=SETS, runs=PROFILED_RUNS) if device.type == "cuda" else []
    return CallTimes(stages=device_times(seen, PROFILED_RUNS), timing=timing, host=_host(work, device, repeats))


def _host(work: Work, device: torch.device, repeats: int) -> float:
    """Median milliseconds until a single run has returned."""
    times = []
    for turn in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        made = work.forward(turn % SETS)
        if work.backward is not None:
            work.backward(turn % SETS, made)
        times.append(1000 * (time.perf_counter() - start))
    synchronise(device)
    return statistics.median(times)


def _replayed(work: Work) -> Work:
    """The same work, each set captured once in a CUDA graph."""

    def run(index: int) -> None:
        made = work.forward(index)
        if work.backward is not None:
            work.backward(index, made)

    graphs = []
    for index in range(SETS):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # the first calls tell how much memory the captured one needs
            for _ in range(3):
                run(index)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run(index)
        graphs.append(graph)
    return Work(forward=lambda index: graphs[index].replay())
