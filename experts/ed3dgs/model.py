"""E-D3DGS: Gaussians with an embedding each, deformed per frame by two small networks (Bae et al., ECCV 2024)."""

from __future__ import annotations

from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Provenance
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.ed3dgs.deformation import ED3DGSDeformation


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

    @property
    def num_gaussians(self) -> int:
        return self.gaussians.means.shape[0]

    @property
    def row_modules(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules with a row a Gaussian, in one block."""
        return ((self.gaussians, self),)

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
