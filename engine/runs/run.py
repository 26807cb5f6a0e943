"""The value a run works on: a scene, its frozen experts, and the router that blends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from moegs_rasterizer.types import Backend, Camera, Grad, TileRule
from torch import Tensor

from engine.errors import ConfigError
from engine.runs.device import ComputeDevice, device_facts
from engine.runs.saved.judgement import Judgement
from experts.base import Expert
from experts.kept_frames import COMPUTED, ExpertFrames
from router import Ensemble, Mixture, Router, mix
from router.novel_views import PLAIN, NovelViews
from scenes.types import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that training, evaluation and viewing share; experts are in softmax order."""

    ensemble: Ensemble
    scene: Scene
    experts: tuple[Expert, ...]
    router: Router
    backend: Backend = "auto"
    tile_rule: TileRule | None = None  # None: each expert's own
    novel: NovelViews = PLAIN  # rules for cameras that were not trained on
    frames: ExpertFrames = COMPUTED  # where the experts' Gaussians come from
    iteration: int = 0  # router updates so far, where it was loaded
    seed: int | None = None  # of the router's training
    training_seconds: float | None = None  # of the router, so far; None: not recorded
    judgement: Judgement | None = None  # from which novel.towards_mean follows, unless that was given

    @property
    def compute(self) -> ComputeDevice:
        """The device and the rasterizer's back-end."""
        return ComputeDevice(device=self.device, backend=self.backend)

    @property
    def device(self) -> torch.device:
        """The device of the router, the experts and their images."""
        return next(self.router.parameters()).device

    def time(self, frame: float) -> float:
        """Normalised time of a frame in [0, 1), the same for all experts."""
        return frame / self.scene.num_frames


def blended_fast(run: Run) -> Run:
    """The run whose images are blended in half precision; raises ConfigError where it does not compute on a GPU."""
    if run.backend != "cuda":
        raise ConfigError(
            f"--fast needs the CUDA rasterizer, but this is {device_facts(run.compute)}; leave --fast out"
        )
    return replace(run, backend="cuda-half")


def as_in_results(run: Run, facts: Mapping[str, Any]) -> Run:
    """The run that blends as for results with these facts of their metrics.json, where its rasterizer can."""
    return blended_fast(run) if facts.get("fast") and run.backend == "cuda" else run


def mix_view(run: Run, view: int, frame: float, *, depths: bool = False) -> Mixture:
    """The mixture at one of the scene's own cameras, at the evaluation temperature, without gradients.

    Held-out cameras give the experts no camera number: no per-camera parameter was learned for them. depths: with
    alphas and depths.
    """
    number = run.scene.views[view].number if view in run.scene.train else None
    return mix_camera(run, run.scene.views[view].camera, frame, camera_number=number, depths=depths)


def mix_camera(
    run: Run,
    camera: Camera,
    frame: float,
    *,
    camera_number: int | None = None,
    temperature: float | None = None,
    grad: Grad = "none",
    depths: bool = False,
) -> Mixture:
    """The mixture at any camera; temperature None is the evaluation temperature. depths: with alphas and depths.

    camera_number: of a training camera. At others the run's rules for novel views hold. grad: as in `mix`.
    """
    return mix(
        run.router,
        run.experts,
        camera,
        frame=frame,
        time=run.time(frame),
        temperature=run.router.eval_temperature if temperature is None else temperature,
        camera_number=camera_number,
        grad=grad,
        backend=run.backend,
        tile_rule=run.tile_rule,
        depths=depths,
        novel=run.novel,
        frames=run.frames,
    )


def alpha_and_depth(mixture: Mixture) -> tuple[Tensor, Tensor]:
    """A mixture's own opacity and expected depth [h, w], from one with depths.

    The depth is that of the experts which have one; nan where these are transparent.
    """
    assert mixture.alphas is not None and mixture.depths is not None
    shares = mixture.gates * mixture.alphas
    known = torch.where(mixture.depths.isnan(), 0, shares).sum(dim=0)  # pictures have no depth
    depth = (mixture.gates * mixture.depths).nansum(dim=0)
    return shares.sum(dim=0), torch.where(known > 0, depth / known, torch.nan)
