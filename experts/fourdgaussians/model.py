"""4DGaussians: Gaussians deformed per frame by a network on HexPlane features (Wu et al., CVPR 2024)."""

from __future__ import annotations

from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat
from torch import Tensor, nn

from experts.base import Provenance
from experts.canonical.gaussians import CanonicalGaussians, activate
from experts.fourdgaussians.deformation import FourDGaussiansDeformation


class FourDGaussians(nn.Module):
    """A 4DGaussians model as an expert.

    num_frames: frames of the clip it was trained on, by which a frame is divided. table [n] and accumulated [n, 3] are
    what its trainer keeps in two more files; nothing here reads them, saving writes them back.
    """

    name = "4DGaussians"
    same_for_all_cameras = True
    background: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __init__(
        self,
        *,
        gaussians: CanonicalGaussians,
        deformation: FourDGaussiansDeformation,
        num_frames: int,
        table: Tensor | None = None,
        accumulated: Tensor | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.gaussians = gaussians
        self.deformation = deformation
        self.num_frames = num_frames
        self.register_buffer("table", table)
        self.register_buffer("accumulated", accumulated)
        self.provenance = provenance or Provenance(files=(), iteration=0)

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
        """Gaussians at a frame, the same for every camera."""
        return activate(self.deformation(self.gaussians.raw(), frame / self.num_frames))

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """The splatted colour as it is."""
        return splat.colour
