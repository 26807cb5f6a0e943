"""The automatic rule on a scene with a real thing close to the held-out camera, and a floater closer still."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, RasterSettings
from torch import nn

from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts.images import image_of
from engine.runs.experts.novel_near import culling_of
from experts.base import Provenance
from router.novel_views import NovelViews
from scenes.types import Scene, View
from tests.engine.runs.experts.test_novel_near import NoFrames

ON_CPU = ComputeDevice(device=CPU, backend="auto")
WALL, THING, FLOATER = 4.0, 0.6, 0.25  # depths


class Model(nn.Module):
    """A wall, a thing before it and, where asked for, a floater."""

    name, background, settings = "Ex4DGS", (1.0, 1.0, 1.0), RasterSettings(near=0.01)
    provenance = Provenance(files=(), iteration=1)

    def __init__(self, *, thing: bool = True, floater: bool = False) -> None:
        super().__init__()
        side = torch.linspace(-6, 6, 41)
        x, y = (each.flatten() for each in torch.meshgrid(side, side, indexing="xy"))
        wall = torch.stack([x, y, torch.full_like(x, WALL)], dim=1)
        things = torch.tensor([[0.0, 0.05, THING]])[: int(thing)]
        floaters = torch.tensor([[0.0, 0.0, FLOATER]])[: int(floater)]
        self.register_buffer("means", torch.cat([wall, things, floaters]))
        sizes = [0.3] * len(wall) + [0.08] * len(things) + [0.04] * len(floaters)
        self.register_buffer("scales", torch.tensor(sizes)[:, None].expand(-1, 3).contiguous())
        shades = [0.5 + 0.4 * torch.sin(3 * x), torch.zeros(len(things)), torch.ones(len(floaters))]
        self.register_buffer("colours", torch.cat(shades)[:, None].expand(-1, 3).contiguous())

    @property
    def num_gaussians(self) -> int:
        return len(self.means)

    def rows(self, frame: float) -> slice:
        return slice(0, len(self.means))

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        return Gaussians(
            means=self.means,
            scales=self.scales,
            quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(len(self.means), 1),
            opacities=torch.full((len(self.means),), 0.95),
            colours=self.colours,
        )

    def colour(self, splat, camera: Camera, *, frame: float) -> torch.Tensor:
        return splat.colour


def view(number: int, x: float) -> View:
    world_to_camera = torch.eye(4)
    world_to_camera[0, 3] = -x
    camera = Camera(world_to_camera=world_to_camera, fx=32, fy=32, cx=32, cy=24, width=64, height=48)
    return View(name=f"cam{number:02d}", number=number, camera=camera)


@pytest.fixture
def scene(tmp_path) -> Scene:
    """cam00 is held out; the training cameras stand 0.3 and 0.6 beside it."""
    views = tuple(view(number, x) for number, x in enumerate((0.0, -0.6, -0.3, 0.3, 0.6)))
    numbers = {"start": 0, "num_frames": 3, "footage_frames": 3, "rig_radius": 0.66}
    return Scene(
        name="near",
        layout="n3v",
        root=tmp_path,
        views=views,
        train=(1, 2, 3, 4),
        test=(0,),
        notes=(),
        frames=NoFrames(),
        **numbers,
    )


def test_the_floater_goes_and_the_thing_stays(scene):
    culling = culling_of(scene, [Model(floater=True)], ON_CPU, near=None)
    assert culling is not None and culling.near < 0.3 * WALL
    assert FLOATER < THING < culling.near, "both lie before the plane"
    held_out = scene.views[0].camera

    def image(model: Model, rule=None) -> torch.Tensor:
        return image_of(model, held_out, 0, compute=ON_CPU, novel=NovelViews(culling=rule))

    truth = image(Model())
    assert float((image(Model(floater=True)) - truth).abs().max()) > 0.3, "without the rule the floater hides the view"
    assert torch.equal(image(Model(floater=True), culling), truth)
    assert float((truth - image(Model(thing=False))).abs().max()) > 0.3, "the thing is to be seen"
    for other in scene.train:  # no training camera has the floater in its image
        camera = scene.views[other].camera
        shown, clean = (image_of(model, camera, 0, compute=ON_CPU) for model in (Model(floater=True), Model()))
        assert float((shown - clean).abs().mean()) < 0.05


def test_a_plain_near_plane_would_cut_the_thing(scene):
    held_out = scene.views[0].camera
    model = Model()
    model.settings = replace(model.settings, near=0.25 * WALL)
    cut, truth = (image_of(each, held_out, 0, compute=ON_CPU) for each in (model, Model()))
    assert float((cut - truth).abs().max()) > 0.3
