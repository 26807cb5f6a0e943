"""The paper: per-Gaussian routing weights, the pixel head and the gated blend."""

from .ensembles import ENSEMBLES, Ensemble
from .features import RoutingFeatures
from .head import RouterHead
from .mixture import Mixture, blend, concentration
from .router import Router, mix

__all__ = [
    "ENSEMBLES",
    "Ensemble",
    "Mixture",
    "Router",
    "RouterHead",
    "RoutingFeatures",
    "blend",
    "concentration",
    "mix",
]
