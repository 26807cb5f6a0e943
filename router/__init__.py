"""The paper: per-Gaussian routing weights, the pixel head and the gated blend."""

from router.ensembles import ENSEMBLES, Ensemble
from router.features import RoutingFeatures
from router.head import RouterHead
from router.heads import HEADS, new_head
from router.mixture import Mixture, blend
from router.router import Router, mix

__all__ = [
    "ENSEMBLES",
    "HEADS",
    "Ensemble",
    "Mixture",
    "Router",
    "RouterHead",
    "RoutingFeatures",
    "blend",
    "mix",
    "new_head",
]
