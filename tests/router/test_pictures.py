"""Routing weights of pictures: they start as those of Gaussians, follow the pixels alone, and learn."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from engine.runs.run import alpha_and_depth
from experts.base import Provenance
from experts.videos.model import Videos
from router import Router, mix
from router.cues import cues_of
from router.pictures import INPUTS, PictureFeatures, inputs_of
from router.router import subset
from tests.small_world import FRAMES, Images, camera, random_scene, small_experts

INIT = 0.7


def pictures(name: str, seed: int) -> Videos:
    """Noise at three cameras."""
    expert = Videos()
    expert.name = name
    pixels = random_scene(None, seed).frames.pixels
    cameras = {f"cam{number:02d}": camera(number) for number in range(3)}
    expert.show(cameras, Images(pixels), num_frames=FRAMES, provenance=Provenance(files=(), iteration=0))
    return expert


def router_of(experts, **options) -> Router:
    torch.manual_seed(2)
    return Router([each.name for each in experts], [each.num_gaussians for each in experts], init=INIT, **options)


def learned(router: Router) -> Router:
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.normal_()
    return router


def test_the_start_is_that_of_gaussians_everywhere() -> None:
    inputs = inputs_of(torch.rand(2, 3, 6, 8))
    weights = PictureFeatures(INIT)(inputs[0], 0.5)
    assert inputs.shape == (2, len(INPUTS), 6, 8)
    torch.testing.assert_close(weights, torch.tensor([INIT, INIT, 0.0])[:, None, None].expand(3, 6, 8))


def test_time_scales_the_temporal_weight_alone() -> None:
    layer = PictureFeatures()
    torch.nn.init.normal_(layer.weight)
    inputs = inputs_of(torch.rand(2, 3, 6, 8))[1]
    early, late = layer(inputs, 0.25), layer(inputs, 0.75)
    assert torch.equal(early[:2], late[:2])
    torch.testing.assert_close(3 * early[2], late[2])


def test_pixels_that_look_the_same_weigh_the_same() -> None:
    """Turned images give turned weights: no place in the image and no camera is known."""
    layer = PictureFeatures()
    torch.nn.init.normal_(layer.weight)
    images = torch.rand(3, 3, 1, 1).expand(3, 3, 20, 24).clone()
    images[:, :, 5:9, 3:8] = torch.rand(3, 3, 4, 5)
    # The gradient goes from a pixel to its right and lower neighbours, so that only swapped axes change nothing.
    turned = layer(inputs_of(images.transpose(2, 3))[0], 0.5)
    torch.testing.assert_close(turned.transpose(1, 2), layer(inputs_of(images)[0], 0.5))


@pytest.mark.parametrize("cues", [False, True])
def test_a_mixture_with_pictures_learns_at_each_pixel(cues: bool) -> None:
    experts = [*small_experts()[:1], pictures("Videos", 4)]
    router = learned(router_of(experts, cues=cues))
    mixture = mix(router, experts, camera(1), frame=1, time=0.25, temperature=1, grad="features", depths=True)
    torch.testing.assert_close(mixture.images[1], experts[1].picture(camera(1), 1))
    assert mixture.gates[1].std() > 0.01 and mixture.alphas[1].eq(1).all()
    mixture.image.square().sum().backward()
    gradient = router.pictures["Videos"].weight.grad
    assert gradient is not None and (gradient.abs().sum(dim=1) > 0).all()
    alpha, depth = alpha_and_depth(mixture)
    own = mixture.depths[0] / mixture.alphas[0]
    seen = mixture.alphas[0] > 0
    torch.testing.assert_close(depth[seen], own[seen])
    assert depth[~seen].isnan().all() and (alpha > mixture.gates[1]).any()


def test_a_mixture_of_pictures_alone_needs_no_rasterizer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be splatted")

    monkeypatch.setattr("router.mixing.rasterize", fails)
    experts = [pictures("Videos", 4), pictures("Videos-2", 5)]
    mixture = mix(learned(router_of(experts)), experts, camera(0), frame=2, time=0.5, temperature=1)
    torch.testing.assert_close(mixture.image, (mixture.gates[:, None] * mixture.images).sum(dim=0))
    assert mixture.gates.std() > 0.01


def test_unknown_depths_are_no_cue() -> None:
    images, alphas, depths = torch.rand(2, 3, 6, 8), torch.ones(2, 6, 8), torch.full((2, 6, 8), 2.0)
    depths[1] = torch.nan
    nearer = cues_of(images, alphas, depths)[:, 3:5]
    assert nearer.eq(0).all()


@pytest.mark.parametrize("cues", [False, True])
def test_a_subset_keeps_what_was_learned_of_those_that_stay(cues: bool) -> None:
    experts = [*small_experts(), pictures("Videos", 4)]
    router = learned(router_of(experts, cues=cues))
    for kept in combinations(range(4), 2):
        chosen = subset(router, [experts[index].name for index in reversed(kept)])
        assert chosen.expert_names == tuple(experts[index].name for index in kept)
        for own, index in enumerate(kept):
            assert torch.equal(chosen.features.static[own], router.features.static[index])
            assert torch.equal(chosen.features.temporal[own], router.features.temporal[index])
            assert not cues or torch.equal(chosen.cues.weight[own], router.cues.weight[index])
        assert torch.equal(chosen.head.mlp1.weight, router.head.mlp1.weight)
        assert list(chosen.pictures) == (["Videos"] if 3 in kept else [])
        for name, layer in chosen.pictures.items():
            assert torch.equal(layer.weight, router.pictures[name].weight)


def test_gates_of_a_subset_are_the_softmax_of_its_logits() -> None:
    experts = small_experts()
    router, given = learned(router_of(experts)), {"frame": 1, "time": 0.25, "temperature": 0.7}
    whole = mix(router, experts, camera(1), **given)
    part = mix(subset(router, [experts[0].name, experts[2].name]), experts[::2], camera(1), **given)
    torch.testing.assert_close(part.gates, torch.softmax(whole.logits[::2] / 0.7, dim=0))
