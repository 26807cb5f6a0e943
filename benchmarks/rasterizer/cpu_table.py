"""The CPU's table: every instruction set of the C++ back-end, and the PyTorch back-end beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from moegs_rasterizer import rasterize
from moegs_rasterizer.cpu import loading
from moegs_rasterizer.random_scenes import random_scene
from moegs_rasterizer.types import Backend, Camera, Grad, Layer, RasterSettings

from benchmarks.rasterizer.measurement import spread
from benchmarks.rasterizer.plans import recording
from common.text.tables import Column, table_lines
from common.text.wording import counted

# Heading of each column, and the gradients that its pass computes.
CPU_STEPS: dict[str, Grad] = {
    "forward": "none",
    "forward + features backward": "features",
    "forward + full backward": "full",
}
COLUMNS = (
    Column(gap=0, width=14, left=True),
    *(Column(heading=f"{heading}, ms", gap=2, width=30) for heading in CPU_STEPS),
)
ORACLE_REPEATS = 3
WARM_UP_PASSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A scene to time."""

    count: int
    width: int
    height: int
    repeats: int
    oracle: bool


SMALL_CASE = Case(count=20_000, width=320, height=240, repeats=50, oracle=True)
LARGE_CASE = Case(count=200_000, width=1352, height=1014, repeats=7, oracle=False)
QUICK_CASE = Case(count=500, width=64, height=48, repeats=3, oracle=True)
# Colours given (1 channel) and from spherical harmonics of degree 3; each with 3 features.
KINDS = {"1 colour + 3 features": None, "SH degree 3 + 3 features": 3}


def print_cpu_table(case: Case, *, seed: int) -> None:
    """Print medians with their range, in milliseconds, for each instruction set and for the PyTorch back-end."""
    for kind, degree in KINDS.items():
        _run(case, kind, degree, seed=seed)


def _run(case: Case, kind: str, degree: int | None, *, seed: int) -> None:
    gaussians, camera = random_scene(
        count=case.count, width=case.width, height=case.height, seed=seed, sh_degree=degree, colour_channels=1
    )
    draw = torch.Generator().manual_seed(seed + 1)
    features = torch.rand(case.count, 3, generator=draw)
    layer = Layer(
        gaussians=gaussians,
        settings=RasterSettings(),
        background=torch.zeros(gaussians.colour_channels + 3),
        features=features,
    )
    _describe(case, kind, layer, camera, seed)
    rows = []
    for isa in loading.available_isas():
        with _chosen_isa(isa):
            rows.append([f"cpu {isa}", *_times(layer, camera, "cpu", case.repeats)])
    if case.oracle:
        rows.append(["torch", *_times(layer, camera, "torch", ORACLE_REPEATS)])
    print("\n".join(table_lines(COLUMNS, rows)))
    print()


def _describe(case: Case, kind: str, layer: Layer, camera: Camera, seed: int) -> None:
    splat = rasterize([layer], camera, backend="cpu")[0]
    seen = splat.radii[splat.radii > 0].float()
    print(
        f"{case.count:,} Gaussians (seed {seed}), {case.width}x{case.height} px, {kind}: {len(seen):,} visible, "
        f"median radius {seen.median():.0f} px (3 sigma), median opacity {layer.gaussians.opacities.median():.2f}, "
        f"mean coverage {splat.alpha.mean():.2f}; {counted(torch.get_num_threads(), 'thread')}; times: median (min-max)"
    )


@contextmanager
def _chosen_isa(isa: str) -> Iterator[None]:
    before = os.environ.get(loading.ISA_VARIABLE)
    os.environ[loading.ISA_VARIABLE] = isa
    try:
        yield
    finally:
        if before is None:
            del os.environ[loading.ISA_VARIABLE]
        else:
            os.environ[loading.ISA_VARIABLE] = before


def _times(layer: Layer, camera: Camera, backend: Backend, repeats: int) -> list[str]:
    return [_time(layer, camera, grad, backend, repeats) for grad in CPU_STEPS.values()]


def _time(layer: Layer, camera: Camera, grad: Grad, backend: Backend, repeats: int) -> str:
    warm_up = WARM_UP_PASSES if backend == "cpu" else 0
    times = [_once(recording(layer, grad), camera, grad, backend) for _ in range(repeats + warm_up)][warm_up:]
    times_spread = spread(times)
    return f"{times_spread.median:.1f} ({times_spread.least:.1f}-{times_spread.most:.1f})"


def _once(layer: Layer, camera: Camera, grad: Grad, backend: Backend) -> float:
    """Milliseconds of one pass through the public call and autograd."""
    channels = layer.gaussians.colour_channels
    weights = [torch.full((count, camera.height, camera.width), 0.5) for count in (3, channels)]
    start = time.perf_counter()
    splat = rasterize([layer], camera, grad=grad, backend=backend)[0]
    if grad != "none":
        assert splat.features is not None
        images = [splat.features] if grad == "features" else [splat.features, splat.colour]
        torch.autograd.backward(images, weights[: len(images)])
    return 1000 * (time.perf_counter() - start)
