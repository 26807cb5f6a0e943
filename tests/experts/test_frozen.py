"""Values that frozen models compute once: kept while nothing changes, never longer."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.recipe import NetworkShape
from experts.frozen import FrozenCache
from tests.experts.fourdgaussians.test_fourdgaussians import CUBES, SHAPE, small


class Owner(nn.Module):
    """Doubles its weight and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0), requires_grad=False)
        self.kept: FrozenCache[Tensor] = FrozenCache()
        self.computed = 0

    def forward(self) -> Tensor:
        return self.kept.of([self.weight], self._double)

    def _double(self) -> Tensor:
        self.computed += 1
        return 2 * self.weight


def test_an_unchanged_source_is_computed_from_once() -> None:
    owner = Owner()
    assert owner() is owner() and owner.computed == 1
    assert torch.equal(owner(), torch.tensor([0.0, 2, 4]))


@pytest.mark.parametrize(
    "change",
    [
        lambda owner: owner.weight.add_(1),
        lambda owner: owner.load_state_dict({"weight": torch.ones(3)}),
        lambda owner: setattr(owner.weight, "data", torch.ones(3)),
        lambda owner: setattr(owner, "weight", nn.Parameter(torch.ones(3), requires_grad=False)),
        lambda owner: owner.double(),
        lambda owner: torch._foreach_add_([owner.weight], 1.0),
    ],
    ids=["in place", "loaded", "data", "replaced", "converted", "foreach"],
)
def test_a_change_is_seen(change) -> None:
    owner = Owner()
    owner()
    change(owner)
    assert torch.equal(owner(), 2 * owner.weight) and owner().dtype == owner.weight.dtype and owner.computed == 2


def test_what_asks_for_gradients_is_computed_every_time() -> None:
    owner = Owner()
    owner()
    owner.requires_grad_(True)
    owner().sum().backward()
    assert owner.weight.grad is not None and owner.computed == 2
    with torch.no_grad():
        owner()
    assert owner.computed == 3
    owner.requires_grad_(False)
    assert not owner().requires_grad and owner.computed == 4


def test_a_value_made_in_inference_mode_serves_training_too() -> None:
    owner = Owner()
    with torch.inference_mode():
        owner()
    factor = torch.ones(3, requires_grad=True)
    (owner() * factor).sum().backward()
    assert torch.equal(factor.grad, owner()) and owner.computed == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda owner: pickle.loads(pickle.dumps(owner))])
def test_copies_start_without_the_value(copied) -> None:
    owner = Owner()
    owner()
    other = copied(owner)
    other.weight.data.fill_(7)
    assert other().tolist() == [14.0] * 3 and owner().tolist() == [0.0, 2, 4]


def pair(shape: NetworkShape = SHAPE) -> tuple[FourDGaussians, FourDGaussians]:
    """The same model twice, frozen and trainable."""
    trainable = small(shape=shape)
    return copy.deepcopy(trainable).requires_grad_(False), trainable


@torch.no_grad()
def test_space_planes_of_a_frozen_model_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from experts.fourdgaussians import planes_fused

    (expert, _), look_up, seen = pair(), planes_fused._look_up, []
    monkeypatch.setattr(planes_fused, "_look_up", lambda *args: seen.append(1) or look_up(*args))
    expert.at(3)
    expert.at(4)
    assert len(seen) == 2 + 2 * 2  # two levels: once without time, at two frames with it


@torch.no_grad()
@pytest.mark.parametrize("shape", [SHAPE, CUBES], ids=["shapes differ", "one shape"])
def test_a_frozen_model_gives_what_a_trainable_one_gives_at_every_frame_and_after_every_change(
    shape: NetworkShape,
) -> None:
    model, trainable = pair(shape)
    for frame in (0, 5, 19):
        assert torch.equal(model.at(frame).means, trainable.at(frame).means)
    grids = "deformation.deformation_net.grid.grids"
    for change in ("gaussians.means", f"{grids}.1.0", f"{grids}.0.4"):
        for expert in (model, trainable):
            expert.get_parameter(change).mul_(1.5)
        assert torch.equal(model.at(5).means, trainable.at(5).means)
    for expert in (model, trainable):
        expert.deformation.deformation_net.grid.aabb = torch.tensor([[2.0] * 3, [-2.0] * 3])
    assert torch.equal(model.at(5).means, trainable.at(5).means)
