"""The overview: what it makes room for, what hides what, and rigs of all kinds and scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from scenes.points.visibility import project
from scenes.preparation.sheets.lettering import Labels
from scenes.preparation.sheets.overview import PAPER, draw_overview, points_image, write_overview
from scenes.preparation.sheets.viewpoints import frusta, frustum_depth, rig_axes, viewpoint, without_strays
from tests.scenes.small_rigs import AROUND, FORWARD, places, rig

RED, GREEN = (250, 0, 0), (0, 250, 0)


def looking_along_z(content):
    return viewpoint(content, np.array([0, 0, 1.0]), np.array([0, -1.0, 0]), size=(80, 60), angle=50)


@pytest.mark.parametrize("angle", [3.0, 50.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_a_viewpoint_shows_its_content_and_wastes_no_room(angle, scale):
    content = scale * np.random.default_rng(0).normal(size=(200, 3))
    eye = viewpoint(content, np.array([1, 2, -0.5]), np.array([0, 0, 1.0]), size=(400, 300), angle=angle)
    pixels, _, inside = project(torch.from_numpy(content), eye)
    assert inside.all()
    free = torch.tensor([pixels[:, 0].min(), 400 - pixels[:, 0].max(), pixels[:, 1].min(), 300 - pixels[:, 1].max()])
    assert free.min() < 0.06 * 400


def test_up_is_up():
    eye = viewpoint(np.eye(3), np.array([0, 1.0, 0]), np.array([0, 0, 1.0]), size=(80, 60), angle=30)
    pixels, _, _ = project(torch.tensor([[0, 0, 1.0], [0, 0, 0], [1.0, 0, 0]]), eye)
    assert pixels[0, 1] < pixels[1, 1]
    assert pixels[2, 0] > pixels[1, 0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_point_hides_the_farther(order):
    positions = np.array([[0, 0, 2.0], [0, 0, 5.0]])[list(order)]
    colours = np.array([RED, GREEN], np.uint8)[list(order)]
    eye = looking_along_z(np.array([[-1, -1, 2.0], [1, 1, 5]]))
    image = points_image(eye, positions, colours)
    drawn = (image != PAPER).any(2)
    assert drawn.sum() > 20
    assert (image[drawn] == RED).all()


def test_points_at_the_edge_and_behind():
    eye = looking_along_z(np.array([[-1, -1, 2.0], [1, 1, 5]]))
    behind = eye.camera_to_world[:3, 3].numpy() - [0, 0, 1]
    assert (points_image(eye, behind[None], np.array([RED], np.uint8)) == PAPER).all()
    many = np.random.default_rng(0).uniform(-9, 9, (400, 3))
    assert (points_image(eye, many, np.full((400, 3), 7, np.uint8)) == 7).any()


def test_rigs_are_told_apart():
    ahead, ring = rig_axes(rig(FORWARD, 1.0)), rig_axes(rig(AROUND, 1.0))
    assert (ahead.inward, ring.inward) == (False, True)
    np.testing.assert_allclose(ahead.forward, [0, 0, 1], atol=1e-9)
    for axes in (ahead, ring):
        np.testing.assert_allclose(axes.up, [0, -1, 0], atol=1e-9)
        frame = np.stack([axes.right, -axes.up, axes.forward])
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(frame) == pytest.approx(1)


def test_frusta_are_the_images_corners():
    camera = rig(AROUND, 2.0)[3]
    corners = torch.from_numpy(frusta([camera], 1.5)[0])
    np.testing.assert_allclose(corners[0], camera.centre, atol=1e-9)
    pixels, depths, _ = project(corners[1:], camera)
    np.testing.assert_allclose(depths, 1.5)
    w, h = camera.width, camera.height
    # Measured: 2e-6; the rig is float32.
    np.testing.assert_allclose(pixels, [[0, 0], [w, 0], [w, h], [0, h]], atol=1e-4)


def test_strays_are_left_out_of_what_is_shown():
    cloud = np.concatenate([places(1000), [[1e6, 0, 0]]])
    assert np.abs(without_strays(cloud)).max() < 10
    assert len(without_strays(cloud)) > 800
    assert without_strays(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(("kind", "scale"), [(FORWARD, 1e-3), (AROUND, 1e3)])
def test_images_do_not_depend_on_the_scale(kind, scale):
    def drawn(by):
        cameras = {f"cam{index:02d}": camera for index, camera in enumerate(rig(kind, by))}
        positions = by * places(300).astype(np.float64)
        return np.asarray(draw_overview(cameras, positions, np.full((300, 3), 90, np.uint8), title="rig"), int)

    one, other = drawn(1.0), drawn(scale)
    # Seen: nothing but the scale bar's words and length differ, 0.4 %.
    assert ((one != other).any(2)).mean() < 0.01


@pytest.mark.parametrize("count", [1, 2])
def test_few_cameras_and_no_points(tmp_path, count):
    cameras = {f"cam{index:02d}": camera for index, camera in enumerate(rig(FORWARD, 1.0)[:count])}
    write_overview(cameras, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), tmp_path / "image", title="few")
    with Image.open(tmp_path / "image") as image:
        assert (image.format, image.width) == ("PNG", 1600)
        blue = (np.asarray(image.convert("RGB"))[:, :, 2] > 200) & (np.asarray(image.convert("RGB"))[:, :, 0] < 50)
    assert blue.sum() > 200


def test_frusta_of_cameras_at_one_place():
    assert frustum_depth([rig(FORWARD, 1.0)[0]] * 3) == 1.0


def test_names_keep_apart_until_there_is_no_room():
    image = Image.new("RGB", (200, 120), "white")
    labels = Labels(image, 16, colour=(0, 0, 0))
    put = [labels.put("cam00", 100, 60) for _ in range(60)]
    assert put[0] and not put[-1]
    boxes = labels._taken
    assert len(boxes) == sum(put)
    for index, a in enumerate(boxes):
        assert min(a) >= 0 and a[2] <= 200 and a[3] <= 120
        assert all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for b in boxes[:index])
