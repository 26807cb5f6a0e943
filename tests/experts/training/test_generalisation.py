"""Measures against models that fit training cameras better than other views: each does what its formula says."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
from torch import nn

from experts import EXPERTS, TRAINABLE, begin_training
from experts.fourdgaussians.presets import PresetNetwork
from experts.training.gaussians.population import Population
from experts.training.gaussians.statistics import Statistics
from experts.training.generalisation.depth import DepthTargets, depth_loss, depth_targets
from experts.training.generalisation.dropout import Dropout
from experts.training.generalisation.generaliser import Generaliser
from experts.training.generalisation.removal import blending_weights, centres, close_to_a_camera, of_one_view, spread
from experts.training.generalisation.settings import Generalisation
from experts.training.generalisation.smallest_scales import pixel_sizes
from experts.training.recipes.presets import Planes
from experts.training.recipes.recipe import Recipe, scaled_recipe
from experts.training.rendered import render
from experts.training.samplers import Sample
from experts.training.start import TrainingStart
from tests.experts.small_clip import FAR, NEAR, camera
from tests.experts.training.small_views import small_start, small_views, train

VIEWS = small_views()
ITERATIONS = 24
ON = Generalisation(
    dropout=0.3,
    opacity=0.01,
    moment_opacity=0.01,
    scale=0.01,
    near=0.3,
    single_view=0.95,
    single_view_at=0.8,
    smallest_px=0.4,
    depth=0.1,
)


def population_of(means, scales=1.0, opacities=0.5):
    count = len(means)
    rows = {
        "means": torch.tensor(means),
        "log_scales": torch.as_tensor(scales).log().expand(count, 3).clone(),
        "opacity_logits": torch.as_tensor(opacities).logit().expand(count).clone(),
    }
    module = nn.ParameterDict({name: nn.Parameter(value) for name, value in rows.items()})
    return Population({name: (module, name) for name in rows})


def generaliser_of(settings, population, *, views=VIEWS, **units):
    recipe = Recipe(iterations=100, rate_iterations=100, generalise=settings)
    return Generaliser(recipe, [population], views, **{"extent": 1.0, "unit": 1.0, **units})


def gaussians_of(means, opacities, dtype=torch.float32):
    count = len(means)
    return Gaussians(
        means=torch.tensor(means, dtype=dtype),
        scales=torch.full((count, 3), 0.3, dtype=dtype),
        quats=torch.tensor([[1.0, 0, 0, 0]], dtype=dtype).repeat(count, 1),
        opacities=torch.tensor(opacities, dtype=dtype),
        colours=torch.full((count, 3), 0.5, dtype=dtype),
    )


def with_gradients(gaussians):
    return replace(gaussians, means=gaussians.means.requires_grad_())


def trainer_of(name, generalise, *, seed=0, world_scale=1.0, kind="densify", **changes):
    """A trainer whose 24 iterations densify and prune, or relocate."""
    spec = EXPERTS[name]
    recipe = scaled_recipe(spec.training.presets["n3v"].recipe, ITERATIONS)
    density = replace(recipe.density, start=3, stop=20, every=5, prune_every=5, gradient=1e-5, max_gaussians=150)
    density = replace(density, kind=kind)
    start = TrainingStart(
        points=small_start(every=5),
        views=VIEWS,
        extent=0.5,
        world_scale=world_scale,
        planes=Planes(near=NEAR, far=FAR),
        network=PresetNetwork(width=16, channels=4, levels=(1,)),
        seed=seed,
    )
    return begin_training(spec, replace(recipe, density=density, generalise=generalise, **changes), start)


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "densify") for name in TRAINABLE), *((name, "relocate") for name in TRAINABLE if name != "FreeTime")],
)
def test_going_on_with_all_measures_is_as_never_having_stopped(name, kind):
    whole, resumed = trainer_of(name, ON, kind=kind), trainer_of(name, ON, kind=kind, seed=3)
    for step in train(whole):
        if step.iteration == 13:  # between two density steps
            state = deepcopy(whole.state())
    resumed.load(state)
    for _ in train(resumed, start=13):
        pass
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    sizes = [pixel_sizes(centres(one["means"].detach()), VIEWS.cameras) for one in whole.populations]
    for one, size in zip(whole.populations, sizes, strict=True):  # limits are up to five iterations old
        assert bool((one["log_scales"].detach().exp() > 0.9 * 0.4 * size[:, None]).all())


def test_each_measure_changes_a_training():
    """None is lost on the way from the recipe to the model."""

    def scales(**changes):
        trainer = trainer_of("STG", Generalisation(**changes))
        list(train(trainer))
        return trainer.populations[0]["log_scales"].detach().clone()

    off = scales()
    assert torch.equal(scales(single_view_at=0.5, depth_delta=0.1), off)  # they only say how
    values = {
        "dropout": 0.3,
        "opacity": 0.1,
        "moment_opacity": 0.1,
        "scale": 0.1,
        "near": 0.9,
        "single_view": 0.55,
        "smallest_px": 3.0,
    }
    for name, value in {**values, "depth": 0.1}.items():
        changed = scales(**{name: value})
        assert changed.shape != off.shape or not torch.equal(changed, off), name


def test_off_draws_nothing_and_adds_nothing():
    population, generator = population_of([[0.0, 0, 4]]), torch.Generator().manual_seed(1)
    before = generator.get_state()
    off = generaliser_of(Generalisation(), population)
    assert off.dropout(1, 50, off.draw(generator)) is None and torch.equal(generator.get_state(), before)
    assert off.image_terms([]) == [] and off.regularisers([population]) == [] and not off.needs_depth
    rows = population.rows(torch.tensor([True]))
    off.control(100, [population], [Statistics(1, torch.device("cpu"))], lambda: pytest.fail("not to be measured"))
    assert all(torch.equal(population[name], rows[name]) for name in population.names)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dropout", 1.0), ("dropout", -0.1), ("opacity", math.nan), ("single_view", 0.0), ("single_view_at", 1.1)],
)
def test_settings_out_of_their_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"generalise.{name} is .*give a number"):
        generaliser_of(replace(Generalisation(), **{name: value}), population_of([[0.0, 0, 4]]))


def test_dropout_grows_and_keeps_the_mean_opacity():
    generator, count = torch.Generator().manual_seed(0), 20_000
    settings = generaliser_of(Generalisation(dropout=0.4), population_of([[0.0, 0, 4]]))
    shares = [settings.dropout(count, iteration, settings.draw(generator)) for iteration in (25, 50, 50, 100)]
    assert [one.share for one in shares] == pytest.approx([0.1, 0.2, 0.2, 0.4])
    for one in shares:
        assert float(one.kept.float().mean()) == pytest.approx(1 - one.share, abs=0.015)  # 4 deviations
    assert not torch.equal(shares[1].kept, shares[2].kept)  # other ones in each image
    opacities = torch.full((count,), 0.3)
    shown = shares[3].apply(replace(gaussians_of([[0.0, 0, 4]], [0.3]), opacities=opacities)).opacities
    assert float(shown.mean()) == pytest.approx(0.3, abs=0.006)
    assert sorted(shown.unique().tolist()) == pytest.approx([0.0, 0.5])


def test_opacities_that_dropout_cuts_keep_a_gradient():
    opacities = torch.tensor([0.2, 0.9, 0.9], requires_grad=True)
    gaussians = replace(gaussians_of([[0.0, 0, 4]] * 3, [0.0] * 3), opacities=opacities)
    shown = Dropout(kept=torch.tensor([True, True, False]), share=0.5).apply(gaussians).opacities
    assert shown.tolist() == pytest.approx([0.4, 1.0, 0.0])
    shown.sum().backward()
    assert opacities.grad.tolist() == pytest.approx([2.0, 2 / 1.8, 0.0])


def rendered(gaussians, *, dropout=None, with_depth=False, features=None, background=None):
    model = SimpleNamespace(settings=RasterSettings(), colour=lambda splat, *_, **__: splat.colour)
    return render(
        model,
        gaussians,
        Sample(view=0, frame=0),
        VIEWS,
        features=features,
        background=torch.zeros(3) if background is None else background,
        backend="torch",
        correction=None,
        dropout=dropout,
        with_depth=with_depth,
    )


def test_what_an_image_lacks_counts_as_not_shown_and_the_image_is_that_of_the_others():
    gaussians = with_gradients(gaussians_of([[0.0, 0, 4], [0.2, 0, 3]], [0.4, 0.4]))
    without = rendered(gaussians, dropout=Dropout(kept=torch.tensor([True, False]), share=0.0))
    alone = rendered(with_gradients(gaussians_of([[0.0, 0, 4]], [0.4])))
    assert torch.equal(without.image, alone.image)
    assert without.splat.radii[0] > 0 and without.splat.radii[1] == 0
    assert without.gaussians is gaussians  # those of the moment, which other images of it share


def test_carried_depths_are_the_rasterizers_and_leave_the_rest_as_it_is():
    gaussians = with_gradients(gaussians_of([[0.0, 0, 4], [0.2, 0.1, 3]], [0.4, 0.7]))
    features = torch.ones(2, 2, requires_grad=True)
    plain, with_depth = (rendered(gaussians, features=features, with_depth=wanted) for wanted in (False, True))
    assert plain.depth is None and torch.equal(plain.image, with_depth.image)
    assert torch.equal(plain.splat.features, with_depth.splat.features)
    shown = with_depth.splat.alpha > 0.01
    expected = plain.splat.depth / plain.splat.alpha
    torch.testing.assert_close(with_depth.depth[shown], expected[shown])


def test_depth_loss_moves_gaussians_to_the_start_points():
    """Gradients of the whole way, from means to the loss, against finite differences."""
    means = torch.tensor([[0.0, 0.0, 3.0], [0.3, 0.1, 4.5]], dtype=torch.float64)
    targets = DepthTargets(
        pixels=torch.tensor([15 * 40 + 20, 15 * 40 + 22, 0]),  # the last in an empty pixel: it does not count
        log_depths=torch.tensor([4.0, 3.02, 3.0], dtype=torch.float64).log(),
    )

    def loss(means):
        gaussians = replace(gaussians_of([[0.0, 0, 0]] * 2, [0.9, 0.8], torch.float64), means=means)
        one = rendered(gaussians, with_depth=True, background=torch.zeros(3, dtype=torch.float64))
        return depth_loss(one.depth, one.splat.alpha, targets, delta=0.05)

    assert torch.autograd.gradcheck(loss, means.clone().requires_grad_(), atol=1e-5)
    start = means.clone().requires_grad_()
    loss(start).backward()
    assert start.grad[0, 2] < 0  # a floater before its point: farther off is better


def test_depth_loss_by_hand():
    depth, alpha = torch.tensor([[2.0, math.e], [1.0, 9.0]]), torch.tensor([[1.0, 1.0], [0.6, 0.4]])
    targets = DepthTargets(pixels=torch.arange(4), log_depths=torch.tensor([math.log(2.0), 0.0, 0.1, 0.0]))
    # 0; |1| beyond delta: 1 - 0.2 / 2; 0.1 within: 0.1^2 / (2 * 0.2); the last is not opaque
    assert float(depth_loss(depth, alpha, targets, delta=0.2)) == pytest.approx((0 + 0.9 + 0.025) / 3)
    nothing = DepthTargets(pixels=torch.tensor([3]), log_depths=torch.tensor([0.0]))
    assert float(depth_loss(depth, alpha, nothing, delta=0.2)) == 0


def test_points_behind_others_are_no_targets():
    points = torch.tensor([[0.0, 0, 4], [0.01, 0, 4.1], [0.02, 0, 6], [1.0, 0, 6], [0, 0, -1]])
    targets = depth_targets(points, camera(0.0))
    assert targets.log_depths.exp().tolist() == pytest.approx([4.0, 4.1, 6.0])
    assert targets.pixels.tolist() == [15 * 40 + 20, 15 * 40 + 20, 15 * 40 + 26]
    assert depth_targets(points[4:], camera(0.0)).pixels.shape == (0,)


def test_regularisers_are_means_over_all_gaussians():
    first, second = population_of([[0.0, 0, 4]] * 3, 0.2, 0.5), population_of([[0.0, 0, 4]], 0.6, 0.9)
    one = generaliser_of(Generalisation(opacity=0.01, scale=0.02), first, extent=2.0)
    loss = sum(one.regularisers([first, second, population_of([])]))
    assert float(loss.detach()) == pytest.approx(0.01 * (3 * 0.5 + 0.9) / 4 + 0.02 * (3 * 0.2 + 0.6) / 4 / 2.0)
    loss.backward()
    assert first["opacity_logits"].grad.tolist() == pytest.approx([0.01 / 4 * 0.25] * 3)
    assert first["log_scales"].grad[0].tolist() == pytest.approx([0.02 / 4 / 2.0 * 0.2 / 3] * 3)


def test_the_opacity_of_a_moment_leaves_what_it_does_not_show_alone():
    """Two Gaussians of opacity 0.5, at a moment when the window of the second is shut."""
    one = generaliser_of(Generalisation(moment_opacity=0.02), population_of([[0.0, 0, 4]] * 2))
    logits = torch.zeros(2, requires_grad=True)
    shown = replace(gaussians_of([[0.0, 0, 4]] * 2, [0.5, 0.5]), opacities=logits.sigmoid() * torch.tensor([1.0, 0.0]))
    (term,) = one.image_terms([SimpleNamespace(gaussians=shown, depth=None)])
    assert float(term.detach()) == pytest.approx(0.02 * 0.25)
    term.backward()
    assert logits.grad.tolist() == pytest.approx([0.02 / 2 * 0.25, 0.0])
    assert one.regularisers([population_of([[0.0, 0, 4]])]) == []


def test_what_floats_close_to_a_camera_is_removed():
    """Cameras stand at x = 0 and 0.4; the median depth of their points is 4, a quarter of which is 1."""
    close, beside = [[0.0, 0.0, 0.9], [0.5, 0.1, 0.5]], [[0.2, 0.0, 1.05], [0.9, 0.0, 0.5]]
    places = [[0.0, 0.0, 4.0]] * 3 + close + beside  # the last is close to both, in the image of neither
    assert close_to_a_camera(torch.tensor(places), VIEWS.cameras, torch.tensor([1.0, 1.0])).tolist() == [
        *[False] * 3,
        *[True, True, False, False],
    ]
    for unit in (1.0, 2.0):  # of data, in a unit of the model
        start = population_of((torch.tensor([[0.0, 0, 4]] * 7) / unit).tolist())
        one, statistics = generaliser_of(Generalisation(near=0.25), start, unit=unit), Statistics(7, start.device)
        start.put("means", torch.tensor(places) / unit)
        one.control(550, [start], [statistics], lambda: pytest.fail("not to be measured"))
        assert start.count == 7  # neither a density step nor the last iteration
        for last in (600, 100):
            again = population_of(start["means"].tolist())
            one.control(last, [again], [Statistics(7, start.device)], lambda: pytest.fail("not to be measured"))
            assert again.count == 5
    moving = torch.tensor([[[0.0, 0, 1], [0.0, 0, 3]]])
    assert centres(moving).tolist() == [[0.0, 0.0, 2.0]]


def test_what_one_view_alone_shows_is_removed():
    weights = torch.tensor([[5.0, 9.5, 0.0, 1.0], [5.0, 0.5, 0.0, 0.0]])
    assert of_one_view(weights, 0.9).tolist() == [False, True, False, True]
    assert not of_one_view(weights, 1.0).any()
    population, statistics = population_of([[0.0, 0, 4]] * 4), Statistics(4, torch.device("cpu"))
    one = generaliser_of(Generalisation(single_view=0.9, single_view_at=0.5), population)
    for iteration in (49, 50, 51):
        one.control(iteration, [population], [statistics], lambda: weights)
        assert population.count == (4 if iteration < 50 else 2) == len(statistics.seen)
    assert spread(range(10, 12)) == [10, 11] and spread(range(150)) == [0, 21, 43, 64, 85, 106, 128, 149]


def test_blending_weights_are_what_a_gaussian_adds_to_the_pixels():
    gaussians = gaussians_of([[0.0, 0, 4], [0.1, 0, 3]], [0.4, 0.7])
    settings, cameras = RasterSettings(), [camera(0.0), camera(0.4)]
    weights = blending_weights(lambda view: iter([gaussians] * (view + 1)), cameras, settings, backend="torch")
    alphas = [
        rasterize([Layer(gaussians=gaussians, settings=settings, background=torch.zeros(3))], one)[0].alpha.sum()
        for one in cameras
    ]
    assert weights.shape == (2, 2) and bool((weights > 0).all())
    torch.testing.assert_close(weights.sum(1), torch.stack([alphas[0], 2 * alphas[1]]))


def test_scales_stay_above_what_cameras_tell_from_a_point():
    near = Camera(world_to_camera=torch.eye(4), fx=80, fy=60, cx=20, cy=15, width=40, height=30)
    far = replace(near, world_to_camera=torch.eye(4) + torch.tensor([[0.0] * 4, [0.0] * 4, [0, 0, 0, 6], [0.0] * 4]))
    means = torch.tensor([[0.0, 0, 2], [0.0, 0, -2], [0.0, 0, -9]])  # seen by both, by the far one, by none
    assert pixel_sizes(means, [near, far]).tolist() == pytest.approx([2 / 80, 4 / 80, 0.0])
    views = SimpleNamespace(cameras=[near, far])
    population = population_of((means / 2.0).tolist(), 1e-3)
    population["log_scales"].data[0, 1] = 0.0
    one = generaliser_of(Generalisation(smallest_px=0.5), population, views=views, unit=2.0)
    one.control(1, [population], [Statistics(3, torch.device("cpu"))], lambda: pytest.fail("not to be measured"))
    found = population["log_scales"].detach().exp()
    expected = torch.tensor([[1, 160, 1], [2, 2, 2], [0.16, 0.16, 0.16]]) / 160  # half a pixel, in the model's units
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("name", "changed"), [("4DGaussians", "sh_degree"), ("Ex4DGS", "generalise")])
def test_published_scenes_have_no_measures_of_ours(name: str, changed: str) -> None:
    presets = EXPERTS[name].training.presets
    published, other = getattr(presets["flame_steak"].recipe, changed), getattr(presets["n3v"].recipe, changed)
    assert published == getattr(type(presets["n3v"].recipe)(), changed) and other != published
    assert getattr(presets["technicolor"].recipe, changed) == getattr(presets["fast_n3v"].recipe, changed) == other
