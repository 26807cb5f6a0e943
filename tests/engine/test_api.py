"""The Python API, on a trained small run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Layer, rasterize
from PIL import Image

import moegs
from engine.commands.train import main
from engine.errors import ConfigError
from engine.runs.run import Run, mix_view
from tests import small_world


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A run of three iterations, opened by the API; the scene and the experts are those of the small world."""
    root = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        arguments = small_world.use_small_world(patch, root)
        assert main("E3", [*arguments, f"--save_path={root / 'run'}", "--iterations=3", "--test_iterations"]) == 0
        yield moegs.load_run(root / "run", device="cpu")


def test_a_rendering_is_what_the_run_renders(trained: Run) -> None:
    rendering, mixture = moegs.render(trained, "cam00", 1), mix_view(trained, 0, 1)
    assert torch.equal(rendering.image, mixture.image.clamp(0, 1))
    assert list(rendering.gates) == list(rendering.experts) == [expert.name for expert in trained.experts]
    assert torch.equal(torch.stack(list(rendering.gates.values())), mixture.gates)
    assert torch.equal(torch.stack(list(rendering.experts.values())), mixture.images.clamp(0, 1))
    torch.testing.assert_close(sum(rendering.gates.values()), torch.ones_like(rendering.alpha))


def test_a_training_camera_gives_the_experts_its_number(trained: Run) -> None:
    assert torch.equal(moegs.render(trained, "cam01", 0).image, mix_view(trained, 1, 0).image.clamp(0, 1))


def test_depth_is_the_gated_mean_of_the_experts_depths(trained: Run) -> None:
    camera = moegs.camera_named(trained, "cam00")
    rendering = moegs.render(trained, camera, 2)
    alpha, depth = 0.0, 0.0
    for expert in trained.experts:
        layer = Layer(
            gaussians=expert.at(2),
            settings=replace(expert.settings, depth="sum"),
            background=torch.tensor(expert.background),
        )
        splat = rasterize([layer], camera, backend="torch")[0]
        alpha = alpha + rendering.gates[expert.name] * splat.alpha
        depth = depth + rendering.gates[expert.name] * splat.depth
    torch.testing.assert_close(rendering.alpha, alpha, atol=1e-5, rtol=1e-4)
    seen = alpha > 1e-3
    assert seen.any()
    torch.testing.assert_close(rendering.depth[seen], (depth / alpha)[seen], atol=1e-4, rtol=1e-3)
    ahead = torch.cat([(expert.at(2).means @ camera.world_to_camera[:3, :3].T)[:, 2] for expert in trained.experts])
    low, high = ahead.min() + camera.world_to_camera[2, 3], ahead.max() + camera.world_to_camera[2, 3]
    assert low - 0.01 <= rendering.depth[seen].min() and rendering.depth[seen].max() <= high + 0.01


def test_depth_of_an_empty_pixel_is_nan(trained: Run) -> None:
    away = moegs.moved(moegs.camera_named(trained, "cam00"), forward=1000.0)
    rendering = moegs.render(trained, away, 0)
    assert (rendering.alpha == 0).all() and rendering.depth.isnan().all()


def test_moved_goes_along_the_cameras_own_axes(trained: Run) -> None:
    camera = moegs.camera_named(trained, "cam02")
    turned = torch.tensor([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]) @ camera.world_to_camera
    camera = replace(camera, world_to_camera=turned)
    moved = moegs.moved(camera, right=1.0, down=2.0, forward=3.0)
    to_world = camera.camera_to_world[:3, :3]
    torch.testing.assert_close(moved.centre - camera.centre, to_world @ torch.tensor([1.0, 2.0, 3.0]))
    assert not torch.equal(moegs.render(trained, moved, 0).image, moegs.render(trained, camera, 0).image)


def test_frames_between_two_are_rendered_and_those_outside_refused(trained: Run) -> None:
    moegs.render(trained, "cam00", 0.5)
    last = trained.scene.num_frames - 1
    for frame in (-1, last + 1):
        with pytest.raises(ConfigError, match=f"give 0 to {last}"):
            moegs.render(trained, "cam00", frame)
        with pytest.raises(ConfigError, match=f"give 0 to {last}"):
            moegs.recorded(trained, "cam00", frame)


def test_an_unknown_camera_names_the_nearest(trained: Run) -> None:
    with pytest.raises(ConfigError, match="no camera 'cam0'; did you mean cam0"):
        moegs.render(trained, "cam0", 0)


def test_recorded_images_and_saved_pngs(trained: Run, tmp_path: Path) -> None:
    image = moegs.recorded(trained, "cam01", 1)
    path = moegs.save_image(image, tmp_path / "recorded.png")
    assert np.array_equal(np.asarray(Image.open(path)), trained.scene.frames.read(1, 1))


def test_opening_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("engine.runs.saved.loading.load_run", lambda path, **options: asked.append(options["needed"]))
    moegs.load_run(tmp_path)
    assert asked == ["none"]
