"""The regulariser of stage 2: gates that differ more than they must cost something."""

from __future__ import annotations

import torch
from torch import Tensor


def concentration(gates: Tensor) -> Tensor:
    """Mean sum of squared gates [E, h, w], scaled to 0 (all equal) ... 1 (one expert has all); a scalar.

    Where experts' errors are independent, the blend's variance is theirs times the sum of squared gates. An expert's
    errors beside its training cameras are such errors, which a router that learns at those cameras never sees. It is
    this project's own and no part of MoE-GS.
    """
    experts, height, width = gates.shape
    squares = torch.linalg.vector_norm(gates).square() / (height * width)
    return (squares - 1 / experts) / (1 - 1 / experts)
