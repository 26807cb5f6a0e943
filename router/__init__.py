"""The paper: per-Gaussian routing weights, the pixel head and the gated blend."""

from typing import TYPE_CHECKING

from common.deferred import names_of
from router.ensembles import (
    ENSEMBLES,
    Ensemble,
    ensemble_of,
    ensembles_with,
    folder_flags,
    is_published,
    kind_of,
    render_command,
)
from router.heads import HEADS, new_head

if TYPE_CHECKING:
    from router.features import RoutingFeatures
    from router.heads.head import RouterHead
    from router.mixing import mix
    from router.mixture import Mixture, blend
    from router.router import Router

__all__ = [
    "ENSEMBLES",
    "HEADS",
    "Ensemble",
    "Mixture",
    "Router",
    "RouterHead",
    "RoutingFeatures",
    "blend",
    "ensemble_of",
    "ensembles_with",
    "folder_flags",
    "is_published",
    "kind_of",
    "mix",
    "new_head",
    "render_command",
]

__getattr__ = names_of(
    __name__,
    {
        "features": ["RoutingFeatures"],
        "heads.head": ["RouterHead"],
        "mixture": ["Mixture", "blend"],
        "mixing": ["mix"],
        "router": ["Router"],
    },
)
