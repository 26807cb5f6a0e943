"""Spherical-harmonics coefficients as models hold them: the constant apart from the rest, which learns more slowly."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from torch import Tensor


class Harmonics(TypedDict):
    """The two parameters, under their names."""

    sh_dc: Tensor  # [n, 1, 3]
    sh_rest: Tensor  # [n, 15, 3]


def split_sh(sh: Tensor) -> Harmonics:
    """Copies of both parts of coefficients [n, 16, 3]."""
    return Harmonics(sh_dc=sh[:, :1].clone(), sh_rest=sh[:, 1:].clone())
