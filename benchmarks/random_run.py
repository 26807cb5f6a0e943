"""A run of random numbers that costs what a trained one does: experts, router, cameras and images in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from moegs_rasterizer import Camera, Gaussians
from moegs_rasterizer.random_scenes import trained_like_scene
from torch import Tensor, nn

from engine.runs.device import ComputeDevice
from engine.runs.run import Run
from experts.base import Expert
from experts.canonical.fresh import EMBEDDING_WIDTH, new_ed3dgs_deformation, new_fourdgaussians_deformation
from experts.canonical.gaussians import CanonicalGaussians
from experts.ed3dgs.deformation import N3V
from experts.ed3dgs.model import ED3DGS
from experts.ex4dgs.model import DynamicGaussians, Ex4DGS, StaticGaussians
from experts.ex4dgs.motion import Timeline
from experts.formats.harmonics import split_sh
from experts.fourdgaussians.model import FourDGaussians
from experts.stg.model import STG, STGSegment
from router import Ensemble, Router
from scenes import Scene
from scenes.types import View

FRAMES, CAMERAS = 300, 4
CAMERA_STEP = 0.2  # world units between neighbouring cameras
NEAR, FAR = 4.0, 300.0  # of Ex4DGS's N3V settings
KEYFRAMES = 36  # of Ex4DGS's N3V models
DYNAMIC_SHARE = 0.1  # of Ex4DGS's Gaussians: a choice, the paper's models differ
MOTION = 0.02  # world units or parts of a quaternion: movement that leaves the Gaussians where they are seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How much one iteration has to do."""

    gaussians: int  # of each expert
    width: int  # pixels
    height: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneImage:
    """A frame store that hands out copies of the same image, as the cache on disk hands out its own."""

    pixels: np.ndarray  # uint8 [h, w, 3]

    def read(self, view: int, frame: int) -> np.ndarray:
        return self.pixels.copy()


def random_run(workload: Workload, ensemble: Ensemble, compute: ComputeDevice) -> Run:
    """A run at iteration 0: `trained_like_scene`'s Gaussians in networks of the published N3V sizes.

    The networks keep their initial weights, which move Gaussians little. A pinhole rig of four cameras looks at them,
    at 300 frames of one image of noise.
    """
    torch.manual_seed(workload.seed)
    experts = []
    for index, (name, _) in enumerate(ensemble.experts):
        gaussians, camera = trained_like_scene(
            count=workload.gaussians, width=workload.width, height=workload.height, seed=workload.seed + index
        )
        expert = MAKERS[name](gaussians)
        assert isinstance(expert, nn.Module)
        experts.append(expert.eval().requires_grad_(False).to(compute.device))
    router = Router([expert.name for expert in experts], [expert.num_gaussians for expert in experts])
    for table in (*router.features.static, *router.features.temporal):
        table.data += 0.3 * torch.randn_like(table)
    return Run(
        ensemble=ensemble,
        scene=_scene(camera, workload.seed, ensemble),
        experts=tuple(experts),
        router=router.to(compute.device),
        backend=compute.backend,
    )


def _scene(camera: Camera, seed: int, ensemble: Ensemble) -> Scene:
    shape = (camera.height, camera.width, 3)
    views = tuple(
        View(name=f"cam{number:02d}", number=number, camera=_moved(camera, number * CAMERA_STEP))
        for number in range(1, CAMERAS + 1)
    )
    return Scene(
        name="profile",
        layout=ensemble.layout,
        root=Path(),
        views=views,
        train=tuple(range(CAMERAS)),
        test=(),
        start=0,
        num_frames=FRAMES,
        footage_frames=FRAMES,
        frames=_OneImage(pixels=np.random.default_rng(seed).integers(0, 256, size=shape, dtype=np.uint8)),
        rig_radius=CAMERAS * CAMERA_STEP,
        notes=(),
    )


def _moved(camera: Camera, right: float) -> Camera:
    matrix = camera.world_to_camera.clone()
    matrix[0, 3] -= right
    return replace(camera, world_to_camera=matrix)


def _logits(opacities: Tensor) -> Tensor:
    return opacities.clamp(1e-6, 1 - 1e-6).logit()


def _sh(gaussians: Gaussians) -> Tensor:
    assert gaussians.sh is not None
    return gaussians.sh


def _canonical(seen: Gaussians) -> CanonicalGaussians:
    return CanonicalGaussians(
        means=seen.means,
        log_scales=seen.scales.log(),
        quats=seen.quats,
        opacity_logits=_logits(seen.opacities),
        **split_sh(_sh(seen)),
    )


def _ed3dgs(seen: Gaussians) -> Expert:
    return ED3DGS(
        gaussians=_canonical(seen),
        embeddings=torch.randn(seen.count, EMBEDDING_WIDTH),
        deformation=new_ed3dgs_deformation(),
        num_frames=FRAMES,
        iteration=N3V.finished,
    )


def _fourdgaussians(seen: Gaussians) -> Expert:
    deformation = new_fourdgaussians_deformation(seen.means)
    return FourDGaussians(gaussians=_canonical(seen), deformation=deformation, num_frames=FRAMES)


def _ex4dgs(seen: Gaussians) -> Expert:
    moving = math.ceil(seen.count * DYNAMIC_SHARE)
    log_scales, logits, sh = seen.scales.log(), _logits(seen.opacities), _sh(seen)
    keyframed = {
        "means": seen.means[:moving, None] + MOTION * torch.randn(moving, KEYFRAMES, 3),
        "quats": seen.quats[:moving, None] + MOTION * torch.randn(moving, KEYFRAMES, 4),
    }
    return Ex4DGS(
        static=StaticGaussians(
            means=seen.means[moving:].clone(),
            displacements=MOTION * torch.randn(seen.count - moving, 3),
            log_scales=log_scales[moving:].clone(),
            quats=seen.quats[moving:].clone(),
            opacity_logits=logits[moving:].clone(),
            **split_sh(sh[moving:]),
        ),
        dynamic=DynamicGaussians(
            **keyframed,
            log_scales=log_scales[:moving].clone(),
            opacity_logits=logits[:moving].clone(),
            opacity_centres=torch.tensor([1.0, KEYFRAMES - 2.0]).repeat(moving, 1),  # there all the time
            opacity_log_widths=torch.zeros(moving, 2),
            **split_sh(sh[:moving]),
        ),
        timeline=Timeline(duration=FRAMES),
        near=NEAR,
        far=FAR,
    )


def _stg(seen: Gaussians) -> Expert:
    """The lite variant; windows as wide as the clip, which is how they start on N3V."""
    count = seen.count
    segment = STGSegment(
        first=0,
        num_frames=FRAMES,
        means=seen.means,
        motion=MOTION * torch.randn(count, 9),
        quats=seen.quats,
        omegas=MOTION * torch.randn(count, 4),
        log_scales=seen.scales.log(),
        opacity_logits=_logits(seen.opacities),
        trbf_centres=torch.rand(count),
        trbf_log_widths=torch.zeros(count),
        features=torch.rand(count, 3),
    )
    return STG(segments=[segment])


MAKERS: dict[str, Callable[[Gaussians], Expert]] = {
    "Ex4DGS": _ex4dgs,
    "E-D3DGS": _ed3dgs,
    "STG": _stg,
    "4DGaussians": _fourdgaussians,
}
