"""The paper: per-Gaussian routing weights, the pixel head, the gated blend, and what is minimised."""

from .ensembles import ENSEMBLES, Ensemble
from .features import RoutingFeatures
from .head import RouterHead
from .mixture import Mixture, blend
from .objective import objective
from .router import Router, mix
from .ssim import ssim, ssim_map

__all__ = [
    "ENSEMBLES",
    "Ensemble",
    "Mixture",
    "Router",
    "RouterHead",
    "RoutingFeatures",
    "blend",
    "mix",
    "objective",
    "ssim",
    "ssim_map",
]
