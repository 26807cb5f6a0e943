"""An affine change of colour for each training camera, learned with the model and dropped when rendering.

Cameras of a rig differ in exposure and white balance. Without this a model explains such differences with
view-dependent colours and floaters; with it, it learns the colours that the cameras have on average: the mean of the
changes is none, or a model whose colours are wrong in the beginning would hand that to all cameras and keep it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from experts.training.saved_states import check_parameters, load_moments


class ColourCorrection(nn.Module):
    """image x (I + dM) + b for each camera, held near the identity, their means over cameras zero.

    cameras: how many. strength: weight of the mean squared dM and b in the loss. rate: Adam's, falling to a tenth.
    """

    def __init__(self, cameras: int, *, strength: float = 0.01, rate: float = 1e-3) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.zeros(cameras, 3, 3))  # dM
        self.offsets = nn.Parameter(torch.zeros(cameras, 3))
        self.strength = strength
        self._rate = rate
        self._optimiser: torch.optim.Optimizer | None = None

    def forward(self, image: Tensor, view: int) -> Tensor:
        """The image [3, h, w] as a camera would have shown it."""
        pixels = image.flatten(1)
        changed = torch.addmm(pixels, self.matrices[view], pixels)
        return (changed + self.offsets[view][:, None]).view(image.shape)

    def regulariser(self) -> Tensor:
        """The term of the loss that keeps cameras near the identity."""
        return self.strength * (self.matrices.square().mean() + self.offsets.square().mean())

    @torch.no_grad()
    def step(self, done: float) -> None:
        """A step of its own Adam, when a share `done` of the training is done; gradients begin again.

        Then the mean over cameras is taken off. A term of the loss would be too slow: Adam divides it by the size of
        the images' gradients.
        """
        optimiser = self._own()
        for group in optimiser.param_groups:
            group["lr"] = self._rate * 0.1**done
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        for part in (self.matrices, self.offsets):
            part.sub_(part.mean(0))

    def state(self) -> dict[str, object]:
        """Parameters and moments, for a checkpoint."""
        return {"parameters": self.state_dict(), "optimiser": self._own().state_dict()}

    def load(self, state: Mapping[str, object]) -> None:
        """Goes on from a checkpoint."""
        check_parameters(self, state["parameters"], ())  # type: ignore[arg-type]
        self.load_state_dict(state["parameters"])  # type: ignore[arg-type]
        load_moments(self._own(), state["optimiser"])  # type: ignore[arg-type]

    def _own(self) -> torch.optim.Optimizer:
        """Made when first needed: on the device where the parameters are by then."""
        if self._optimiser is None:
            self._optimiser = torch.optim.Adam(self.parameters(), lr=self._rate, eps=1e-15, fused=True)
        return self._optimiser
