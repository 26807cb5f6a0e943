"""The choice of a plan: experts by their worth, lengths, numbers of Gaussians and pruning that fit a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.budget.measured import ExpertTrial, MixtureTrial, SceneTrial
from engine.budget.plan import Step
from engine.budget.wanted import Budget

# The order of worth, and the share of the preset fast that all trainings must keep for an expert to be added: FreeTime
# is the best alone, FreeTime with Ex4DGS as good as all five (docs/dev/expert_training.md, FreeTime). A second expert
# gains 1.3 dB and more, so it may cost length; further ones gain little, so they come when there is time to spare.
WORTH: Mapping[str, float] = {"FreeTime": 0.0, "Ex4DGS": 0.25, "4DGaussians": 1.0, "STG": 1.0, "E-D3DGS": 1.0}
LEAST_SHARE = 0.01  # of the preset fast, below which nothing is trained
DENSITIES = (0.65, 0.4, 0.25)  # Gaussians for each pixel of an image: the most that keeps DENSE_SHARE, or the last
DENSE_SHARE = 0.5  # of the preset fast; shorter trainings are better with fewer Gaussians
LEAST_DENSITY = 0.02  # below which an expert shows nothing
PRUNED_SHARE = 0.55  # of the Gaussians that pruning removes at most: the paper's
EXPERT_LEAST = 0.05  # of the iterations of its preset fast; shorter, an expert shows too little to be blended
ROUTER_LEAST, ROUTER_FAST, ROUTER_PUBLISHED = 200, 2000, 5000  # iterations; the least once a run is begun
PRUNE_LEAST, PRUNE_FAST, PRUNE_PUBLISHED = 20, 200, 500
JUDGE_FRAMES = 10  # that the router's training looks at before it saves
PRUNE_FRAMES = 10  # that Gaussians are ranked at
CLOSE = 0.7  # share of the size above which a run is pruned: Ex4DGS's dynamic Gaussians, which no trial has, are larger
ROUTING_BYTES = 12  # of a Gaussian's weights in a router
TARGET = 0.97  # share of the time that is planned for
RESERVE = 1.3  # times what a step of a mixture takes beside its iterations: no trial runs the whole command
STEPS = 50  # of bisections


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Steps after planning, and the share of the preset fast that they keep (above 1: longer)."""

    steps: tuple[Step, ...]
    share: float
    run_bytes: float | None  # to prune to; None: no pruning


def choose(
    experts: Sequence[ExpertTrial], mixture: MixtureTrial | None, scene: SceneTrial, left: Budget
) -> Chosen | None:
    """The steps of a run of these experts that fit what is left of a budget; None where none fit.

    mixture: None for one expert, which has no router. Experts whose number of Gaussians grows are trained first: their
    time is known least, and the lengths of the steps after them can make up for it.
    """
    chosen: Chosen | None = None
    for density in DENSITIES:
        chosen = _at_density(experts, mixture, scene, left, density)
        if chosen is not None and chosen.share >= DENSE_SHARE:
            break
    return chosen


def _at_density(
    experts: Sequence[ExpertTrial], mixture: MixtureTrial | None, scene: SceneTrial, left: Budget, density: float
) -> Chosen | None:
    counts = gaussian_counts(experts, mixture, left, density)
    if counts is None:
        return None
    routed = sum(expert.models * count for expert, count in zip(experts, counts, strict=True))
    total = sum(expert.models * expert.files.at(count) for expert, count in zip(experts, counts, strict=True))
    total += 0 if mixture is None else mixture.head_bytes + ROUTING_BYTES * routed
    prunes = mixture is not None and left.run_bytes is not None and total > CLOSE * left.run_bytes

    surest_last = sorted(zip(experts, counts, strict=True), key=lambda own: not own[0].grows_until)

    def steps(share: float) -> tuple[Step, ...]:
        own = [_expert_step(expert, count, scene, share) for expert, count in surest_last]
        return (*own, *(() if mixture is None else _mixture_steps(mixture, scene, routed, share, prunes=prunes)))

    longest = max((expert.published / expert.fast for expert in experts), default=1.0)
    longest = longest if mixture is None else max(longest, ROUTER_PUBLISHED / ROUTER_FAST)
    room = float("inf") if left.seconds is None else left.seconds
    share = _largest(lambda share: _seconds(steps(share)) <= room, longest)
    if share == 0 or share < LEAST_SHARE:
        return None
    told = tuple(replace(step, told=step.seconds) for step in steps(share))
    return Chosen(steps=told, share=share, run_bytes=left.run_bytes if prunes else None)


def gaussian_counts(
    experts: Sequence[ExpertTrial], mixture: MixtureTrial | None, left: Budget, density: float
) -> list[int] | None:
    """The most Gaussians of each expert's models within memory and size; None where an expert would show nothing.

    A mixture may be larger than its size by what pruning removes.
    """
    counts: list[float] = [min(density * expert.pixels, expert.usual) for expert in experts]
    if left.gpu_bytes is not None:
        if mixture is not None and mixture.memory is not None and mixture.memory > left.gpu_bytes:
            return None
        known = [(count, expert.memory) for count, expert in zip(counts, experts, strict=True)]
        counts = [count if line is None else min(count, line.where(left.gpu_bytes)) for count, line in known]
    if left.run_bytes is not None:
        routed = 0 if mixture is None else ROUTING_BYTES
        size = left.run_bytes - sum(e.models * e.files.base for e in experts) - (mixture.head_bytes if mixture else 0)
        room = size if mixture is None else size / (1 - PRUNED_SHARE)
        wanted = sum(e.models * (e.files.each + routed) * n for e, n in zip(experts, counts, strict=True))
        counts = [count * min(1.0, max(0.0, room) / wanted) if wanted > 0 else count for count in counts]
    if any(count < least_gaussians(expert.pixels) for count, expert in zip(counts, experts, strict=True)):
        return None
    return [int(count) for count in counts]


def least_gaussians(pixels: int) -> float:
    """The fewest Gaussians that show something of an image of so many pixels."""
    return LEAST_DENSITY * pixels


def least_seconds(expert: ExpertTrial, scene: SceneTrial, left: Budget) -> float | None:
    """Seconds of an expert's shortest training, alone; None where memory or size leave it too few Gaussians."""
    counts = gaussian_counts([expert], None, left, DENSITIES[-1])
    return None if counts is None else _expert_step(expert, counts[0], scene, LEAST_SHARE).seconds


def mean_gaussians(expert: ExpertTrial, most: int) -> float:
    """The mean number of Gaussians in a training that grows evenly from its start to `most`."""
    start, until = min(expert.start, most), expert.grows_until
    return until * (start + most) / 2 + (1 - until) * most


def _expert_step(expert: ExpertTrial, gaussians: int, scene: SceneTrial, share: float) -> Step:
    return Step(
        step=f"expert_{expert.key}",
        expert=expert.name,
        iterations=_length(expert.fast, expert.published, share),
        longest=expert.published,
        shortest=round(EXPERT_LEAST * expert.fast),
        gaussians=gaussians,
        fixed=scene.command + expert.models * expert.overhead,
        each=expert.models * expert.iteration.at(mean_gaussians(expert, gaussians)),
        early=0.0 if expert.grows_until else expert.iteration.at(gaussians),
        gpu_bytes=None if expert.memory is None else expert.memory.at(gaussians),
        run_bytes=expert.models * expert.files.at(gaussians),
    )


def _mixture_steps(
    mixture: MixtureTrial, scene: SceneTrial, gaussians: int, share: float, *, prunes: bool
) -> list[Step]:
    opening, shown = scene.command + mixture.opening, mixture.first_frame
    router = Step(
        step="train",
        iterations=_length(ROUTER_FAST, ROUTER_PUBLISHED, share),
        longest=ROUTER_PUBLISHED,
        shortest=ROUTER_LEAST,
        fixed=RESERVE * (opening + shown + JUDGE_FRAMES * mixture.frame),
        each=mixture.iteration,
        gpu_bytes=mixture.memory,
        run_bytes=mixture.head_bytes + ROUTING_BYTES * gaussians,
    )
    prune = Step(
        step="prune",
        iterations=_length(PRUNE_FAST, PRUNE_PUBLISHED, share),
        longest=PRUNE_PUBLISHED,
        shortest=PRUNE_LEAST,
        fixed=RESERVE * (opening + mixture.opening + shown + (PRUNE_FRAMES + JUDGE_FRAMES) * mixture.frame),
        each=mixture.iteration,
        gpu_bytes=mixture.memory,
    )
    render = Step(
        step="render", fixed=RESERVE * (opening + shown) + scene.frames * mixture.frame, gpu_bytes=mixture.memory
    )
    return [router, *([prune] if prunes else []), render]


def pruning_like(router: Step) -> Step:
    """The step that prunes a run which was not to be pruned, by what its router's training is told to take."""
    return Step(
        step="prune",
        iterations=PRUNE_FAST,
        longest=PRUNE_PUBLISHED,
        shortest=PRUNE_LEAST,
        fixed=router.fixed,
        each=router.each,
        gpu_bytes=router.gpu_bytes,
    )


def _length(fast: int, published: int, share: float) -> int:
    return max(1, min(published, round(fast * share)))


def _seconds(steps: Sequence[Step]) -> float:
    return sum(step.seconds for step in steps)


def _largest(fits: Callable[[float], bool], most: float) -> float:
    """The largest number up to `most` that fits, where smaller ones fit better; 0 where none does."""
    if fits(most):
        return most
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def rescaled(steps: Sequence[Step], seconds: float) -> tuple[Step, ...]:
    """The steps with the iterations of those that were not begun changed by one factor, to take so many seconds.

    None gets longer than it is of use, nor shorter than its least: with too little time left, they take longer.
    """

    def changed(factor: float) -> tuple[Step, ...]:
        return tuple(_stretched(step, factor) if step.is_adjustable else step for step in steps)

    lengths = [step.longest / step.iterations for step in steps if step.is_adjustable]
    return changed(_largest(lambda factor: _seconds(changed(factor)) <= seconds, max(lengths, default=1.0)))


def _stretched(step: Step, factor: float) -> Step:
    least = min(step.shortest, step.iterations)  # a plan may have been short from the start
    return replace(step, iterations=max(least, _length(step.iterations, step.longest, factor)))
