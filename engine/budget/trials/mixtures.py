"""Trials of mixtures, over the models of experts' trials: a router's iterations, and scores of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from engine.budget.measured import MixtureTrial
from engine.budget.trials.measuring import TRIAL_SECONDS, peak_bytes, quiet_logs, start_memory
from engine.evaluation.mixture import EvaluationOptions
from engine.evaluation.mixture_time import scoring_seconds
from engine.runs.cost import tensor_bytes
from engine.runs.device import ComputeDevice, wait
from engine.runs.opening import assemble
from engine.runs.trial import LONG, BlackFrames
from engine.settings.training.run import AnyRunConfig
from engine.training.expert.saves import covered
from engine.training.router.opening import tried_seconds
from engine.training.router.schedule import make_optimiser
from experts import Expert
from router import Router, ensemble_of
from scenes import Scene
from scenes.cutting import cut


def try_mixture(models: Sequence[Expert], config: AnyRunConfig, scene: Scene, compute: ComputeDevice) -> MixtureTrial:
    """Tries a router over models of trials: an iteration, and frames with all their scores."""
    start_memory(compute)
    clip = cut(scene, 0, max(1, min(shown_frames(model, scene.num_frames) for model in models)))
    black = replace(clip, frames=BlackFrames(clip))
    names, counts = [model.name for model in models], [model.num_gaussians for model in models]
    with quiet_logs():
        start = perf_counter()
        router = Router(names, counts)
        ensemble = ensemble_of(names)
        run = assemble(config, ensemble, compute=compute, scene=black, experts=tuple(models), router=router)
        first = tried_seconds(run, make_optimiser(run.router, config.training), config)
        wait(compute)
        opening = perf_counter() - start  # with the first steps, which load kernels
        iteration = tried_seconds(
            run, make_optimiser(run.router, config.training), config, at_least=0 if first > LONG else TRIAL_SECONDS
        )
        first, frame = scoring_seconds(run, scene.test[0], EvaluationOptions(constant_frames=0))
    return MixtureTrial(
        gaussians=sum(counts),
        iteration=iteration,
        frame=frame,
        opening=opening,
        first_frame=first,
        memory=peak_bytes(compute),
        head_bytes=tensor_bytes(run.router.head),
    )


def shown_frames(model: Expert, count: int) -> int:
    """The first so many of a clip's frames that a model shows: of a segment, or of a clip that training grows along."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if covered(model, (middle - 1,)) else (low, middle - 1)
    return low
