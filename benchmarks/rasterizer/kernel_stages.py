"""Device time of each stage of a pass, from the kernels that torch.profiler saw."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.rasterizer.measurement import Work

# Kernel functions of csrc/cuda and the stage each belongs to.
OUR_KERNELS = {
    "project_kernel": "projection",
    "write_kernel": "instances",
    "ranges_kernel": "ranges",
    "blend_kernel": "blending",
    "blend_half_kernel": "blending",
    "backward_kernel": "blending backward",
    "count_kernel": "ordered sums",
    "bounds_kernel": "ordered sums",
    "add_kernel": "ordered sums",
    "gather_kernel": "gathering",
    "project_backward_kernel": "projection backward",
    "look_kernel": "projection backward",  # a background's gradient, which is checked as other gradients are
}
# Parts of the names of kernels that are not ours.
OTHER_KERNELS = {
    "DeviceRadixSort": "sort",
    "DeviceScan": "scan",
    "Memcpy": "copies and fills",
    "Memset": "copies and fills",
    "at::native": "PyTorch",
}
# What CUB's radix sort sorts, by the stage of ours that ran last before it.
SORT_AFTER = {"projection": "depth sort", "instances": "tile sort", "blending backward": "ordered sums"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRun:
    """One run of a kernel on the device."""

    name: str  # as demangled, with its template arguments
    start: float  # microseconds
    milliseconds: float


def profiled(work: Work, *, sets: int, runs: int) -> list[KernelRun]:
    """Kernels of `runs` repetitions in the order of their start; empty where the profiler sees no GPU."""
    for turn in range(sets):
        _repeat(work, turn)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for turn in range(runs):
            _repeat(work, turn % sets)
        torch.cuda.synchronize()
    kernels = [
        KernelRun(
            name=event.name,
            start=event.time_range.start,
            milliseconds=(event.time_range.end - event.time_range.start) / 1000,
        )
        for event in profiler.events()
        if event.device_type == DeviceType.CUDA
    ]
    return sorted(kernels, key=lambda kernel: kernel.start)


def device_times(kernels: Sequence[KernelRun], runs: int) -> dict[str, float]:
    """Milliseconds per run of each stage, in the order of their first kernel.

    A kernel that no table knows is a stage of its own, under its function's name.
    """
    totals: dict[str, float] = {}
    sort = "sort"
    for kernel in kernels:
        stage = _stage(kernel.name)
        sort = SORT_AFTER.get(stage, sort)
        if stage == "sort":
            stage = sort
        totals[stage] = totals.get(stage, 0.0) + kernel.milliseconds / runs
    return totals


def unknown(names: Iterable[str]) -> list[str]:
    """Names of stages that are kernels which no table knows."""
    known = {*OUR_KERNELS.values(), *OTHER_KERNELS.values(), *SORT_AFTER.values()}
    return [name for name in names if name not in known]


def function_name(name: str) -> str:
    """A demangled kernel's bare function: without return type, namespaces, template arguments and parameters."""
    plain = re.sub(r"\(anonymous namespace\)::", "", name.removeprefix("void "))
    return re.split(r"[<(]", plain, maxsplit=1)[0].split("::")[-1].strip()


def _repeat(work: Work, index: int) -> None:
    images = work.forward(index)
    if work.backward is not None:
        work.backward(index, images)


def _stage(name: str) -> str:
    ours = OUR_KERNELS.get(function_name(name))
    if ours is not None:
        return ours
    return next((stage for part, stage in OTHER_KERNELS.items() if part in name), function_name(name))
