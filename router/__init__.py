"""The paper: per-Gaussian routing weights, the pixel head and the gated blend."""

from router.ensembles import ENSEMBLES, Ensemble, ensembles_with, folder_flags
from router.features import RoutingFeatures
from router.head import RouterHead
from router.mixture import Mixture, blend, concentration
from router.router import Router, mix

__all__ = [
    "ENSEMBLES",
    "Ensemble",
    "Mixture",
    "Router",
    "RouterHead",
    "RoutingFeatures",
    "blend",
    "concentration",
    "ensembles_with",
    "folder_flags",
    "mix",
]
