"""E-D3DGS: Gaussians with an embedding each, deformed per frame by two small networks (Bae et al., ECCV 2024)."""

from __future__ import annotations

import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from .base import Provenance
from .canonical import CanonicalGaussians, activate
from .ed3dgs_deformation import N3V, ED3DGSDeformation, ED3DGSOptions

_LARGEST_LOG_SCALE = 1.0  # of a first scale, in E-D3DGS's own trainer


class ED3DGS(nn.Module):
    """An E-D3DGS model as an expert.

    num_frames: frames of the clip it was trained on, by which a frame is divided. iteration: how far training got,
    which annealing and the coarse-to-fine schedule still need when rendering.
    """

    name = "E-D3DGS"
    background: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __init__(
        self,
        *,
        gaussians: CanonicalGaussians,
        embeddings: Tensor,  # [n, 32]
        deformation: ED3DGSDeformation,
        num_frames: int,
        iteration: int,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.gaussians = gaussians
        self.embeddings = nn.Parameter(embeddings)
        self.deformation = deformation
        self.num_frames = num_frames
        self.iteration = iteration
        self.provenance = provenance or Provenance(files=(), iteration=iteration)
        self.num_gaussians = embeddings.shape[0]

    @property
    def settings(self) -> RasterSettings:
        """3DGS's own convention."""
        return RasterSettings()

    def rows(self, frame: float) -> slice:
        """All rows, at every frame."""
        return slice(0, self.num_gaussians)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians at a frame; camera: a training camera's number, whose learned time offset is then added."""
        time = frame / self.num_frames + self.deformation.offset(camera)
        return activate(self.deformation(self.gaussians.raw(), self.embeddings, time, iteration=self.iteration))

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour


def new_ed3dgs(
    points: Tensor,
    colours: Tensor,
    *,
    num_frames: int,
    iteration: int,
    options: ED3DGSOptions = N3V,
    max_embeddings: int = 150,
    cameras: int = 30,
) -> ED3DGS:
    """An untrained model from points [n, 3] and colours [n, 3] in 0 ... 1, initialised as E-D3DGS's trainer does.

    iteration: where training ends, so that annealing and coarse-to-fine do not hold it back; set it per step to follow
    E-D3DGS's schedule.
    """
    gaussians = CanonicalGaussians.from_points(points, colours)
    gaussians.log_scales.data.clamp_(max=_LARGEST_LOG_SCALE)
    deformation = ED3DGSDeformation(options, max_embeddings=max_embeddings, cameras=cameras)
    nn.init.normal_(deformation.weight, std=0.01 / deformation.weight.shape[1] ** 0.5)
    return ED3DGS(
        gaussians=gaussians,
        embeddings=torch.zeros(points.shape[0], 32),
        deformation=deformation,
        num_frames=num_frames,
        iteration=iteration,
    )
