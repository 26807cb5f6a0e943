"""The GPU's table of single calls: what a call takes beside its kernels, and how long the host is busy with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from moegs_rasterizer import RawGaussians, RawLayer, rasterize
from moegs_rasterizer.activation import activated_layer
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
STEPS: dict[str, Grad] = {"forward": "none", "forward + full backward": "full"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """Times of one kind of call, milliseconds."""

    kernels: float | None  # None where the profiler saw none
    timing: Timing
    host: float  # until the call has returned, the device idle before it

    @property
    def beside(self) -> float | None:
        """Milliseconds that a single call takes longer than its kernels; None where those are not known."""
        return None if self.kernels is None else self.timing.single.median - self.kernels


def print_call_table(device: torch.device, *, counts: Sequence[int], size: tuple[int, int], repeats: int) -> None:
    """Print the table for one layer of each count, and for the forward pass replayed from a CUDA graph."""
    print(describe(device))
    print(
        f"One layer, spherical harmonics of degree 3, {size[0]}x{size[1]} px; medians of {repeats} runs, milliseconds "
        "by device events; host busy: until the call has returned, by the host's clock; one at a time: the device is "
        "idle before each run."
    )
    rows = []
    for count in counts:
        frames = [
            trained_like_frame(count=count, layers=1, features=0, size=size, seed=index, device=device)
            for index in range(SETS)
        ]
        works = {name: work_of(frames, together(grad)) for name, grad in STEPS.items()}
        raw = [raw_layer(frame.layers[0]) for frame in frames]
        works["forward + full backward, raw, activated by PyTorch"] = _raw_work(frames, raw, activate=activated_layer)
        works["forward + full backward, raw, activated by the kernels"] = _raw_work(frames, raw)
        for name, work in works.items():
            rows.append(call_row(f"{count:,}, {name}", _timed(work, device, repeats)))
        if device.type == "cuda":
            rows.append(call_row(f"{count:,}, forward in a CUDA graph", _timed(_replayed(frames), device, repeats)))
    print("\n" + call_markdown(rows))


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
    kernels = None
    if device.type == "cuda":
        seen = profiled(work, sets=SETS, runs=PROFILED_RUNS)
        kernels = sum(device_times(seen, PROFILED_RUNS).values()) if seen else None
    return CallTimes(kernels=kernels, timing=timing, host=_host(work, device, repeats))


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


def _replayed(frames: Sequence[Frame]) -> Work:
    """The forward pass of each frame, captured once in a CUDA graph."""
    graphs = []
    for frame in frames:
        calls = together("none")(frame.layers)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # the first calls tell how much memory the captured one needs
            for _ in range(3):
                outputs(render(calls, frame.camera))
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            render(calls, frame.camera)
        graphs.append(graph)
    return Work(forward=lambda index: graphs[index].replay())
