"""4DGaussians' tables: presets, scaling, rates, first models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.presets import PRESETS, PresetNetwork
from experts.fourdgaussians.recipe import LENGTHS, FourDGaussiansRecipe, as_published
from experts.fourdgaussians.start import box, start_model
from experts.training.recipes.rates import build_optimiser
from experts.training.recipes.recipe import scaled_recipe
from experts.training.recipes.recipe_fields import N3V_EXTENT
from experts.training.start import StartPoints, TrainingStart

RECIPE = FourDGaussiansRecipe()
SMALL = PresetNetwork(width=16, channels=4, levels=(1,))


def start_points(count: int = 40, scale: float = 1.0) -> StartPoints:
    generator = torch.Generator().manual_seed(1)
    positions = torch.randn(count, 3, generator=generator) * scale
    return StartPoints(positions=positions, colours=torch.rand(count, 3, generator=generator))


def first_model(
    recipe: FourDGaussiansRecipe, *, scale: float = 1.0, extent: float = 1.0, seed: int = 0
) -> FourDGaussians:
    points, views = start_points(scale=scale), SimpleNamespace(num_frames=10)
    return start_model(recipe, TrainingStart(points=points, views=views, extent=extent, network=SMALL, seed=seed))


def test_scenes_have_their_own_batches_and_every_second_frame_a_cell() -> None:
    assert [PRESETS[name].recipe.batch for name in ("coffee_martini", "sear_steak", "n3v")] == [4, 2, 2]
    assert PRESETS["multipleview"].recipe.batch == 1
    assert PRESETS["technicolor"] == PRESETS["n3v"]
    n3v = PRESETS["n3v"].network
    assert n3v.shape(300).resolutions == ((64, 64, 64, 150), (128, 128, 128, 150))
    assert n3v.shape(50).resolutions[0][3] == 25 and n3v.shape(5).resolutions[0][3] == 8


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_scales_with_both_its_stages(name: str) -> None:
    recipe = PRESETS[name].recipe
    part = recipe.iterations / PRESETS[name.removeprefix("fast_")].recipe.iterations  # of the published schedule
    half = scaled_recipe(recipe, recipe.iterations // 2)
    assert half.coarse_iterations == round(1500 * part) and half.rate_iterations == round(10000 * part)
    assert half.sh_every == round(500 * part)
    assert half.density.stop == recipe.density.stop // 2
    for length in (1, 2, 3, 50):
        assert scaled_recipe(recipe, length).coarse_iterations <= length


def test_short_trainings_see_no_more_images_where_an_iteration_has_more() -> None:
    lengths = [PRESETS[f"fast_{name}"].recipe.iterations for name in ("n3v", "sear_steak", "coffee_martini")]
    assert lengths == [17000, 17000, 8500]


def test_stages_count_for_themselves_and_harmonics_grow_in_both() -> None:
    recipe = FourDGaussiansRecipe(coarse_iterations=1500)
    assert [recipe.stage(i) for i in (1, 1500, 1501)] == [(False, 1), (False, 1500), (True, 1)]
    assert [recipe.active_degree(i) for i in (999, 1000, 1500, 2499, 2500, 3500, 9000)] == [0, 1, 1, 1, 2, 3, 3]


def test_at_the_extent_of_n3v_scale_free_rates_are_the_published_ones() -> None:
    model = first_model(RECIPE)
    found = []
    for recipe in (RECIPE, as_published(RECIPE)):
        optimiser = build_optimiser(model, recipe.network_rates(), kind="adam", extent=N3V_EXTENT)
        ends = {id(p): (g["first"], g["last"]) for g in optimiser.param_groups for p in g["params"]}
        found.append({name: ends[id(parameter)] for name, parameter in model.named_parameters()})
    assert set(found[0]) == set(found[1]) == {name for name, _ in model.named_parameters()}
    for name, ends in found[0].items():
        assert ends == pytest.approx(found[1][name], rel=1e-12), name
    grid, means = found[1]["deformation.deformation_net.grid.grids.0.0"], found[1]["gaussians.means"]
    assert grid == pytest.approx((1.6e-3 * N3V_EXTENT, 1.6e-4 * N3V_EXTENT)) and means[0] == pytest.approx(1.04e-3)
    rates = RECIPE.network_rates()
    assert rates[LENGTHS].per_extent and not rates["deformation"].per_extent


def test_a_scene_in_other_units_starts_alike() -> None:
    """Offsets of places follow the units to float32's rounding, 3e-6 seen; published, they do not."""
    models = [first_model(RECIPE, scale=scale, extent=2 * scale, seed=3) for scale in (1.0, 100.0)]
    with torch.no_grad():
        one, other = (model.at(4) for model in models)
    torch.testing.assert_close(100 * one.means, other.means, rtol=1e-4, atol=1e-3)
    assert torch.allclose(one.opacities, other.opacities, atol=1e-5)
    published = first_model(as_published(RECIPE), scale=100.0, extent=200.0, seed=3)
    with torch.no_grad():
        assert not torch.allclose(published.at(4).means, other.means, rtol=1e-4, atol=1e-3)


def test_the_same_seed_gives_the_same_model_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    models = [first_model(RECIPE, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [model.deformation.deformation_net.feature_out[0].weight for model in models]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_box_leaves_strays_out_and_is_never_flat() -> None:
    points = torch.rand(200, 3)
    points[0], points[1] = 50.0, -80.0
    assert torch.equal(box(points, 0.0), torch.tensor([[50.0] * 3, [-80.0] * 3]))
    largest, smallest = box(points, 0.005)
    assert (largest <= 1).all() and (smallest >= 0).all()
    points = torch.rand(50, 3)
    points[:, 1] = 2.0
    largest, smallest = box(points, 0.0)
    sides = largest - smallest
    assert sides[1] == pytest.approx(1e-3 * float(sides.max()), rel=1e-3) and largest[1] > 2 > smallest[1]
