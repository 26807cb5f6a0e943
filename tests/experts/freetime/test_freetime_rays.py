"""FreeTime's Gaussians along rays: where they are set, whose places they take, and that going on is exact."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Splat

from common.maths.geometry import onto_image, transformed
from experts.freetime.new_model import start_model
from experts.freetime.rays import DEPTHS, gaussians_along_rays, least_seen
from experts.freetime.recipe import FreeTimeRecipe, LifeSettings
from experts.freetime.starts.first_gaussians import FreeTimeStart
from experts.freetime.training import FreeTimeTrainer
from experts.training.start import TrainingStart
from tests.experts.freetime.models import small_model
from tests.experts.freetime.test_freetime_training import EXTENT, RECIPE, VIEWS, error
from tests.experts.freetime.textured_box import SMALL, BoxViews, box_at, box_texture, picture
from tests.experts.training.small_views import small_start, train

WALL = 4.0  # depth that the model shows everywhere
NOWHERE = torch.zeros(2)  # sides of a box that is not there


def empty_room(frame: int, cameras: Sequence[Camera], depth: float = WALL) -> Iterator[Splat]:
    """Images of the wall without its box, as a static model shows them."""
    for camera in cameras:
        plane = torch.full((camera.height, camera.width), depth)
        colour = picture(camera, half=NOWHERE)[0]
        yield Splat(colour=colour, features=None, alpha=plane, depth=plane, radii=plane, means2d=plane)


def along(views: BoxViews, room: int, *, depth: float = WALL, has_gates: bool = True) -> FreeTimeStart | None:
    return gaussians_along_rays(
        views,
        lambda frame, cameras: empty_room(frame, cameras, depth),
        keyframe_every=5,
        room=room,
        has_gates=has_gates,
        generator=torch.Generator().manual_seed(0),
    )


def test_they_lie_on_rays_of_what_moves_around_the_depth_that_is_shown() -> None:
    views = BoxViews()
    found = along(views, 100_000)
    assert found is not None and found.count > 1000
    keyframes = 5 * (found.times / 5).round()
    assert set(keyframes.tolist()) == {0.0, 5.0, 10.0}
    placed = torch.zeros(found.count, dtype=torch.bool)
    for camera in views.cameras:
        local = transformed(found.means, camera.world_to_camera)
        on_depth = (local[:, 2:] - WALL * torch.tensor(DEPTHS)).abs().amin(1) < 1e-4
        on_pixel = (onto_image(local, (camera.fx, camera.fy), (camera.cx, camera.cy)) % 1 - 0.5).abs().amax(1) < 1e-3
        for frame in (0, 5, 10):
            own = on_depth & on_pixel & (keyframes == frame)
            local_box = transformed(box_at(frame)[None], camera.world_to_camera)
            focal, centre = (camera.fx, camera.fy), (camera.cx, camera.cy)
            beside = (onto_image(local[own], focal, centre) - onto_image(local_box, focal, centre)).abs()
            half = SMALL * torch.tensor(focal) / local_box[0, 2]
            assert own.any() and bool((beside < half + 8).all())  # 5 px of margin, 1 of opening, and the camera turns
            placed |= own
    assert placed.all()
    middle = box_at(5)
    start = views.cameras[1].centre
    box = start + (found.means - start) * ((middle[2] - start[2]) / (found.means[:, 2:] - start[2]))
    own = (keyframes == 5) & ((box - middle)[:, :2].abs() < 0.5 * SMALL).all(1)
    assert (box_texture(box[own], middle).T - found.colours[own]).abs().median() < 0.1  # of one camera of three
    assert bool((found.opacities == 0.1).all()) and torch.allclose(found.gates, torch.tensor(0.02))
    assert not found.velocities.any() and torch.allclose(found.durations, torch.tensor(3.0))
    ungated = along(views, 100_000, has_gates=False)
    assert ungated is not None and not ungated.gates.any()


def test_no_more_than_there_is_room_for_and_none_where_nothing_moves_or_is_shown() -> None:
    few = along(BoxViews(), 30)
    assert few is not None and few.count == 30
    assert along(BoxViews(moving=False), 100) is None
    assert along(BoxViews(), 100, depth=0.0) is None


def test_the_dead_go_first_then_the_faintest() -> None:
    model = small_model(settings=LifeSettings())
    with torch.no_grad():
        model.gates.fill_(-9.0)
        model.widths.fill_(0.0)
        model.times.copy_(torch.tensor([5.0, 5.0, -30.0, 5.0, 5.0, 5.0]))  # one is never seen
        model.gaussians.opacity_logits.copy_(torch.tensor([0.9, 0.05, 0.9, 0.8, 0.01, 0.95]).logit())
    dead = torch.tensor([True, False, False, False, False, False])
    for count, places in ((1, [0]), (2, [0, 2]), (3, [0, 2, 4]), (4, [0, 1, 2, 4])):
        assert least_seen(model, dead, count).tolist() == places


RAYS = replace(RECIPE, iterations=30, moving="rays", rays_at=(8, 16), keyframe_every=2)


def rays_trainer(recipe: FreeTimeRecipe = RAYS, *, seed: int = 0) -> FreeTimeTrainer:
    start = TrainingStart(points=small_start(every=4), views=VIEWS, extent=EXTENT, seed=0)
    model = start_model(recipe, start)
    model.background = (1.0, 1.0, 1.0)  # the clip's
    return FreeTimeTrainer(model, recipe, extent=EXTENT, views=VIEWS, seed=seed)


def test_they_take_the_places_of_others_at_their_iterations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    whole, resumed = rays_trainer(), rays_trainer(seed=5)
    gates = whole.model.gate_values()
    assert gates is not None and bool((gates > 0.89).all())  # all stand still at the start
    moving = []
    for step in train(whole):
        gates = whole.model.gate_values()
        assert gates is not None and step.gaussians == whole.count == 480
        moving.append(int((gates < 0.3).sum()))
        if step.iteration == 8:
            fresh = gates < 0.3
            opacities = whole.model.gaussians.opacity_logits.detach().sigmoid()
            assert torch.allclose(opacities[fresh], torch.tensor(0.1)) and not whole.model.velocities[fresh].any()
            assert bool((opacities[~fresh].amin() >= 0.01).all())
            assert not whole.statistics[0].rows["shown"][fresh].any()
            moments = [value for value in whole.optimiser.state[whole.model.times].values() if value.shape == (480,)]
            assert len(moments) == 2 and not any(moment[fresh].any() for moment in moments)
            assert all(moment[~fresh].any() for moment in moments)
        if step.iteration == 12:
            saved = deepcopy(whole.state())
    assert moving[6] == 0 and 20 < moving[7] <= 120 and moving[15] > moving[14]
    assert caplog.text.count("along rays of moving pixels") == 2
    resumed.load(saved)
    for _ in train(resumed, start=12):
        pass
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_they_show_what_moves_better_than_a_start_that_stands_still_alone() -> None:
    longer = replace(RAYS, iterations=120, rays_at=(20, 40))
    trainers = [rays_trainer(longer), rays_trainer(replace(longer, moving="none"))]
    for trainer in trainers:
        for _ in train(trainer):
            pass
    with_rays, without = (error(trainer.model) for trainer in trainers)
    assert with_rays < 0.95 * without  # seen: 0.0685, 0.0743


def test_what_would_never_happen_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rays_at \(30, 40\) has no iteration before the last, 30"):
        rays_trainer(replace(RAYS, rays_at=(30, 40)))
    with pytest.raises(ValueError, match=r"rays_at \(empty\)"):
        rays_trainer(replace(RAYS, rays_at=()))
    start = TrainingStart(points=small_start(every=4), views=BoxViews(num_frames=2), extent=EXTENT, seed=0)
    with pytest.raises(ValueError, match="a clip of 3 frames or more, found 2"):
        start_model(RAYS, start)
