"""The table of router heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from common.deferred import deferred

if TYPE_CHECKING:
    from router.heads.head import RouterHead

# A row is a head's name, in --rgbfunction and in checkpoints, and what makes an untrained one. SandwichHead in place
# of FusedSandwichHead gives the same numbers up to rounding, more slowly.
_sandwich = deferred("router.heads.head_fused:FusedSandwichHead")
HEADS: Mapping[str, Callable[[], RouterHead]] = {
    "sandwichlite": _sandwich,
    "sandwichpixel": partial(_sandwich, sees_rays=False),
}

if TYPE_CHECKING:
    HeadKind = str
else:
    HeadKind = Literal[tuple(HEADS)]  # from which the command line and JSON files know the choices

DEFAULT_HEAD: HeadKind = "sandwichlite"  # the published one


def new_head(kind: HeadKind) -> RouterHead:
    """An untrained head of a kind; ValueError names the kinds where there is none of that name."""
    if kind not in HEADS:
        raise ValueError(f"router head {kind!r} is unknown: use one of {', '.join(HEADS)}")
    return HEADS[kind]()
