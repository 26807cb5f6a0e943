"""Images whose colours differ by their cameras: exposure and white balance are not a model's to explain."""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 1e-3  # towards no change, times the number of pixels: a flat image does not decide all of a matrix


def matched_colours(image: Tensor, target: Tensor) -> Tensor:
    """The image [3, h, w] under the affine change of colour, M c + b, that brings it nearest to a target [3, h, w].

    Least squares over all pixels, held near the identity. Gradients reach the image, not through M and b.
    """
    change = _change(image.detach().double().flatten(1), target.detach().double().flatten(1)).to(image)
    return torch.einsum("ij,jhw->ihw", change[:, :3], image) + change[:, 3, None, None]


def _change(colours: Tensor, wanted: Tensor) -> Tensor:
    """[M | b], [3, 4], of colours [3, n] to those wanted [3, n]; the normal equations of wanted - colours."""
    count = colours.shape[1]
    known = torch.cat([colours, colours.new_ones(1, count)])
    identity = torch.eye(4, dtype=colours.dtype, device=colours.device)
    # The ridge makes it solvable; asking whether it was would wait for a GPU.
    difference, _ = torch.linalg.solve_ex(known @ known.T + _RIDGE * count * identity, known @ (wanted - colours).T)
    return identity[:3] + difference.T
