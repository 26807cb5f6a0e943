"""The paper: per-Gaussian routing weights, the pixel head and the gated blend."""

from router.ensembles import ENSEMBLES, Ensemble, ensembles_with, folder_flags
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
    "ensembles_with",
    "folder_flags",
    "mix",
    "new_head",
]
