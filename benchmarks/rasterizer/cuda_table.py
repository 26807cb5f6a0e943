"""The GPU's table: one layer beside gsplat, four layers in one launch, stages of the pass beside an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from moegs_rasterizer.types import Grad, RasterizerError

from benchmarks.rasterizer import gsplat_calls
from benchmarks.rasterizer.kernel_stages import device_times, profiled, unknown
from benchmarks.rasterizer.machine import describe, machine_of
from benchmarks.rasterizer.measurement import Timing, measure
from benchmarks.rasterizer.plans import (
    FEATURES,
    Frame,
    Plan,
    apart,
    one_by_one,
    render,
    together,
    trained_like_frame,
    work_of,
)
from benchmarks.rasterizer.roofline import Counts, Machine, count_layers, estimate_backward, estimate_forward
from benchmarks.rasterizer.table import (
    AtMost,
    Faster,
    Goal,
    Row,
    estimate_row,
    markdown,
    stage_rows,
    timing_rows,
    title,
)
from common.text.wording import counted

LAYERS = 4
SETS = 3  # of inputs, in turn
PROFILED_RUNS = 4 * SETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the scenes, and the number of timed runs."""

    counts: tuple[int, ...]  # Gaussians of one layer alone
    ensemble: int  # Gaussians of each of the LAYERS
    size: tuple[int, int]  # pixels, width and height
    repeats: int
    has_goals: bool = True  # False: the goals are for other sizes


FULL_SIZES = Sizes(counts=(200_000, 1_000_000), ensemble=200_000, size=(1352, 1014), repeats=60)
QUICK_SIZES = Sizes(counts=(2_000, 5_000), ensemble=1_000, size=(160, 120), repeats=6, has_goals=False)

FORWARD, STEP, FULL_STEP = "forward", "forward + features backward", "forward + full backward"
STEPS: dict[str, Grad] = {FORWARD: "none", STEP: "features", FULL_STEP: "full"}
ONE, EACH, APART = "one launch", "four calls", "eight calls of 3 channels"
ALL_GRADIENTS = "all gradients"  # of the features' calls, not theirs alone: what the published code's kernels compute
PLANS: dict[str, Plan] = {
    f"{FORWARD}, {ONE}": together("none"),
    f"{FORWARD}, {EACH}": one_by_one("none"),
    f"{FORWARD}, {APART}": apart("none", "none"),
    f"{STEP}, {ONE}": together("features"),
    f"{STEP}, {EACH}": one_by_one("features"),
    f"{STEP}, {APART}": apart("none", "features"),
    f"{STEP}, {APART}, {ALL_GRADIENTS}": apart("none", "full"),
    f"{FULL_STEP}, {ONE}": together("full"),
    f"{FULL_STEP}, {EACH}": one_by_one("full"),
    f"{FULL_STEP}, {APART}": apart("full", "full"),
}
BACKWARDS = {f"{STEP}, {ONE}": "features backward alone", f"{FULL_STEP}, {ONE}": "full backward alone"}

ESTIMATE_FACTOR = 2.0
# Milliseconds: a quarter and an eighth of what the published method's passes took for a forward pass and for a training
# step, with the kernels it uses, on such scenes and an H100: 8.8 and 37.4.
FORWARD_LIMIT, STEP_LIMIT = 2.2, 4.7
GOALS: tuple[Goal, ...] = (
    *(
        Faster(row=f"{count:,}, {step}, ours", slower=f"{count:,}, {step}, gsplat", least=1.5)
        for count in FULL_SIZES.counts
        for step in (FORWARD, FULL_STEP)
    ),
    Faster(row=f"{FORWARD}, {ONE}", slower=f"{FORWARD}, {APART}", least=4),
    AtMost(row=f"{FORWARD}, {ONE}", milliseconds=FORWARD_LIMIT),
    Faster(row=f"{STEP}, {ONE}", slower=f"{STEP}, {APART}, {ALL_GRADIENTS}", least=4),
    AtMost(row=f"{STEP}, {ONE}", milliseconds=STEP_LIMIT),
    Faster(row="features backward alone", slower="full backward alone", least=2.5),
)


def print_gpu_table(device: torch.device, sizes: Sizes, *, seed: int) -> None:
    """Print what is rendered and whether the ways to render it agree, then the table."""
    print(describe(device))
    print(
        "Scenes: depths uniform in 4.5-22.5, log-normal sigma in the image (median 2.2 px, deviation 0.8 of its "
        "logarithm), opacity sigmoid(normal(-0.3, 2)), spherical harmonics of degree 3. Times: median (min-max) of "
        f"{counted(sizes.repeats, 'run')} by device events, {SETS} sets of inputs in turn; one at a time: the device "
        "is idle before each run, so the host's part counts."
    )
    goals, most = (GOALS, ESTIMATE_FACTOR) if sizes.has_goals else ((), None)
    rows = [title("(a) one layer, RGB"), *timing_rows(layer_timings(device, sizes, seed=seed), goals)]
    frames = _frames(device, sizes, sizes.ensemble, LAYERS, seed=seed)
    counts = _describe(f"{LAYERS} layers of {sizes.ensemble:,}", frames[0])
    _print_differences(frames[0])
    timings = ensemble_timings(frames, device, sizes.repeats)
    heading = f"(b) {LAYERS} layers of {sizes.ensemble:,}, RGB + {FEATURES} features each"
    rows += [title(heading), *timing_rows(timings, goals)]
    if device.type == "cuda":
        rows += [title("(c) device time by stage"), *_stage_part(frames, counts, timings[f"{FORWARD}, {ONE}"], most)]
    print("\n" + markdown(rows))


def print_gpu_stages(device: torch.device, sizes: Sizes, *, seed: int) -> None:
    """Print the stages of one pass alone, to compare kernels built with one of csrc/cuda/switches.cuh."""
    print(describe(device))
    frames = _frames(device, sizes, sizes.ensemble, LAYERS, seed=seed)
    counts = _describe(f"{LAYERS} layers of {sizes.ensemble:,}", frames[0])
    forward, _ = measure(work_of(frames, PLANS[f"{FORWARD}, {ONE}"]), device, sets=len(frames), repeats=sizes.repeats)
    print("\n" + markdown(_stage_part(frames, counts, forward, ESTIMATE_FACTOR if sizes.has_goals else None)))


def layer_timings(device: torch.device, sizes: Sizes, *, seed: int) -> dict[str, Timing]:
    """One layer without features, alone and beside gsplat where that is installed."""
    timings = {}
    for count in sizes.counts:
        frames = _frames(device, sizes, count, 1, seed=seed)
        _describe(f"{count:,} Gaussians", frames[0])
        beside = device.type == "cuda" and _gsplat_runs(frames[0])
        for step in (FORWARD, FULL_STEP):
            works = {"ours": work_of(frames, together(STEPS[step]))}
            if beside:
                works["gsplat"] = gsplat_calls.gsplat_work(frames, STEPS[step])
            for name, work in works.items():
                timings[f"{count:,}, {step}, {name}"], _ = measure(work, device, sets=SETS, repeats=sizes.repeats)
    _check_values(device)
    return timings


def ensemble_timings(frames: Sequence[Frame], device: torch.device, repeats: int) -> dict[str, Timing]:
    """Every plan, the backward passes of one launch alone, and the one-launch plans with `deterministic=True`."""
    timings = {}
    for name, plan in PLANS.items():
        timings[name], backward = measure(work_of(frames, plan), device, sets=len(frames), repeats=repeats)
        if name in BACKWARDS:
            timings[BACKWARDS[name]] = backward
            same = work_of(frames, plan, deterministic=True)
            timings[f"{name}, deterministic"], _ = measure(same, device, sets=len(frames), repeats=repeats)
    _check_values(device)
    return timings


def _frames(device: torch.device, sizes: Sizes, count: int, layers: int, *, seed: int) -> list[Frame]:
    features = FEATURES if layers > 1 else 0
    return [
        trained_like_frame(
            count=count, layers=layers, features=features, size=sizes.size, seed=seed + index * layers, device=device
        )
        for index in range(SETS)
    ]


def _stage_part(frames: Sequence[Frame], counts: Counts, forward: Timing, most: float | None) -> list[Row]:
    """Stages of a forward pass and of both kinds of training step, one launch each."""
    device = frames[0].upstream.device
    machine = _machine(device)
    rows = []
    if machine is not None:
        least = sum(estimate_forward(counts, machine).values())
        rows = [estimate_row(f"{FORWARD}, {ONE}, as in (b)", forward, least, most)]
    for step, grad in STEPS.items():
        kernels = profiled(work_of(frames, together(grad)), sets=SETS, runs=PROFILED_RUNS)
        if not kernels:
            print(f"{step}: no stages, because torch.profiler recorded no kernels (it needs CUPTI)")
            continue
        measured = device_times(kernels, PROFILED_RUNS)
        if names := unknown(measured):
            print(f"{step}: kernels outside the known stages: {', '.join(names)}")
        rows += stage_rows(step, measured, _estimates(counts, machine, grad))
    return rows


def _machine(device: torch.device) -> Machine | None:
    """The GPU's rates for the estimate, printed; None, with the reason printed, where they cannot be known."""
    try:
        machine = machine_of(device)
    except RasterizerError as error:
        print(f"No estimate: {error}")
        return None
    print(
        f"Estimate: {machine.bytes_per_second / 1e12:.2f} TB/s measured copy, "
        f"{machine.warp_instructions_per_second / 1e9:.0f} G warp instructions/s at the highest clock"
    )
    return machine


def _estimates(counts: Counts, machine: Machine | None, grad: Grad) -> dict[str, float]:
    if machine is None:
        return {}
    backward = {} if grad == "none" else estimate_backward(counts, machine, full=grad == "full")
    return {**estimate_forward(counts, machine), **backward}


def _describe(name: str, frame: Frame) -> Counts:
    """Counts of the frame, printed with what its Gaussians look like."""
    counts = count_layers(frame.layers, frame.camera)
    splats = render(together("none")(frame.layers), frame.camera)
    radii = torch.cat([splat.radii[splat.radii > 0] for splat in splats]).float()
    opacities = torch.cat([layer.gaussians.opacities for layer in frame.layers])
    coverage = sum(float(splat.alpha.mean()) for splat in splats) / len(splats)
    print(
        f"{name}: {counts.visible:,} reach a pixel, median radius {radii.median():.0f} px (3 sigma of the longer "
        f"axis), median opacity {opacities.median():.2f}, mean coverage {coverage:.2f}",
        f"tile pairs by bounding box: {counts.boxed:,}",
        f"tile pairs exactly: {counts.instances:,}",
        f"tile pairs before the tile is opaque: {counts.walked:,}",
        f"pixel tests in 8x4 parts: {counts.tested / 1e6:.4g} million",
        f"blends: {counts.blended / 1e6:.4g} million",
        sep="\n  ",
    )
    return counts


def _print_differences(frame: Frame) -> None:
    """Print the largest differences between one launch and the other ways to render the same images."""
    plans = (together("none"), one_by_one("none"), apart("none", "none"))
    splats = [render(plan(frame.layers), frame.camera) for plan in plans]
    # Colours of all layers, then features of all layers: the order in which `apart` renders them too.
    one, each = (
        [*(s.colour for s in some), *(s.features for s in some if s.features is not None)] for some in splats[:2]
    )
    split = [splat.colour for splat in splats[2]]
    far = [max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True)) for other in (each, split)]
    print(f"Largest difference between one launch and {EACH}: {far[0]:g}; and {APART}: {far[1]:g}")


def _gsplat_runs(frame: Frame) -> bool:
    """True where gsplat renders here; prints how far its image is from ours, or why it is left out."""
    version = gsplat_calls.version()
    if version is None:
        print("gsplat is not installed, so its rows and goals are left out (pip install gsplat==1.5.3)")
        return False
    try:
        with torch.no_grad():
            image, facts = gsplat_calls.gsplat_image(frame, frame.layers[0].gaussians)
    except (ImportError, RuntimeError, AttributeError) as error:
        print(f"gsplat {version} is installed but cannot render, so its rows and goals are left out: {error}")
        return False
    ours = render(together("none")(frame.layers), frame.camera)[0].colour.permute(1, 2, 0)
    psnr = gsplat_calls.agreement(ours, image)
    print(f"gsplat {version}: {psnr:.1f} dB PSNR to ours, {int(facts['tiles_per_gauss'].sum()):,} tile pairs")
    return True


def _check_values(device: torch.device) -> None:
    """Raise now, before the table is printed, what the kernels have found wrong with the input."""
    if device.type == "cuda":
        from moegs_rasterizer import cuda

        cuda.check()
