"""The types of the rasterizer's input (Gaussians, Camera, RasterSettings, Layer) and of its output (Splat)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # importing PyTorch takes a second, and reading these types needs none of it
    from torch import Tensor

Grad = Literal["none", "features", "full"]
Backend = Literal["auto", "cuda", "cuda-half", "cpu", "torch"]
TileRule = Literal["exact", "inria"]
DepthKind = Literal["sum", "mean", "median"]

MEDIAN_DEPTH_OF_EMPTY_PIXELS = 15.0


class RasterizerError(ValueError):
    """Input that cannot be rasterized, or a back-end that cannot run here.

    The message is one line: what is wrong, what was found, what to do.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussians:
    """Gaussians of one instant, activated, in world space.

    Exactly one of `sh` and `colours` is given. Quaternions are used as given: a non-unit quaternion changes the
    covariance, as in the original kernels (static Ex4DGS Gaussians rely on it).
    """

    means: Tensor  # [n, 3] world units
    scales: Tensor  # [n, 3] > 0, world units
    quats: Tensor  # [n, 4] wxyz, not normalised here
    opacities: Tensor  # [n] in [0, 1]
    sh: Tensor | None = None  # [n, (degree + 1)^2, 3], degree 0-3; colour = max(0, SH(direction) + 0.5)
    colours: Tensor | None = None  # [n, k] colour channels as they are, instead of sh

    @property
    def count(self) -> int:
        return self.means.shape[0]

    @property
    def colour_channels(self) -> int:
        return 3 if self.colours is None else self.colours.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawGaussians:
    """Gaussians as training stores them; the rasterizer activates them: `activation.activated` says by which formulas.

    On "cuda" the kernels do so as they read them. Gradients are those of the raw values.
    """

    means: Tensor  # [n, 3] world units
    log_scales: Tensor  # [n, 3]
    quats: Tensor  # [n, 4] wxyz, not normalised here
    opacity_logits: Tensor  # [n]
    sh_dc: Tensor  # [n, 1, 3] first coefficient
    sh_rest: Tensor  # [n, (degree + 1)^2 - 1, 3] the others, degree 0-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A pinhole camera: OpenCV axes (x right, y down, z forward), COLMAP pixels (first pixel's centre at 0.5, 0.5)."""

    world_to_camera: Tensor  # [4, 4]
    fx: float  # pixels
    fy: float
    cx: float  # pixels; the image centre is (width / 2, height / 2)
    cy: float
    width: int
    height: int

    @property
    def camera_to_world(self) -> Tensor:  # [4, 4]
        return self.world_to_camera.double().inverse().to(self.world_to_camera.dtype)

    @property
    def centre(self) -> Tensor:  # [3] world units
        return self.camera_to_world[:3, 3]


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterSettings:
    """The splatting convention a model was trained under."""

    low_pass: float = 0.3  # added to the diagonal of the 2D covariance, px^2
    compensate: bool = False  # Ex4DGS: opacity x sqrt(det before / det after the low-pass)
    near: float = 0.2  # culled where camera z <= near
    far: float | None = None  # culled where camera z > far
    ndc_limit: float | None = None  # culled where |ndc x| or |ndc y| of the mean exceeds it
    tile_rule: TileRule = "exact"  # "exact": every pixel with alpha >= 1/255; "inria": the original 3-sigma squares
    depth: DepthKind = "sum"  # sum z alpha T; that over alpha (far, or 0, where empty); z where T passes 1/2 (else 15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Gaussians, the convention to splat them by, and features to carry to the pixels with the same weights."""

    gaussians: Gaussians
    settings: RasterSettings
    background: Tensor  # [k + c]: colour channels first
    features: Tensor | None = None  # [n, c]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLayer:
    """As Layer, of Gaussians that have not been activated."""

    gaussians: RawGaussians
    settings: RasterSettings
    background: Tensor  # [3 + c]
    features: Tensor | None = None  # [n, c]


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """One rasterized layer. Gradients reach the inputs through colour, features, alpha and means2d; depth has none."""

    colour: Tensor  # [k, h, w], background blended in, not clamped
    features: Tensor | None  # [c, h, w], background blended in
    alpha: Tensor  # [h, w], 1 - remaining transmittance
    depth: Tensor  # [h, w], RasterSettings.depth says which
    radii: Tensor  # [n] int32 pixels, 3 sigma; 0 where culled
    means2d: (
        Tensor  # [n, 2] pixels, first pixel's centre at (0, 0); call retain_grad() on it for screen-space gradients
    )
