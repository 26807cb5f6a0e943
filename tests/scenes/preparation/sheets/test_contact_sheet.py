"""The contact sheet: every camera's image, whole, in its place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from scenes.preparation.sheets.contact_sheet import column_count, draw_sheet, write_sheet
from scenes.types import SceneError


def images(folder, sizes, suffix=".png"):
    """Images of one colour each: red is 60 + 40 x the camera's number."""
    paths = {}
    for number, (width, height) in enumerate(sizes):
        paths[f"cam{number:02d}"] = folder / f"cam{number:02d}{suffix}"
        Image.new("RGB", (width, height), (60 + 40 * number, 100, 10)).save(paths[f"cam{number:02d}"])
    return paths


def box_of(sheet, number):
    """Left, top, right, bottom of a camera's image."""
    rows, columns = np.nonzero((np.asarray(sheet) == (60 + 40 * number, 100, 10)).all(2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_images_lie_row_by_row_and_keep_their_shape(tmp_path):
    sheet = draw_sheet(images(tmp_path, [(400, 300)] * 5), title="five cameras")
    assert sheet.width == 1600
    boxes = [box_of(sheet, number) for number in range(5)]
    columns = column_count(5, 0.75)
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    assert len({box[1] for box in boxes}) == -(-5 // columns)
    for left, top, right, bottom in boxes:
        assert (right - left) / (bottom - top) == pytest.approx(4 / 3, rel=0.01)
    assert all(a[2] <= b[0] or a[3] < b[1] for a, b in pairwise(boxes))


def test_cameras_of_different_sizes_share_a_scale(tmp_path):
    sheet = draw_sheet(images(tmp_path, [(400, 300), (200, 300), (400, 100)]), title="")
    sizes = [(right - left, bottom - top) for left, top, right, bottom in (box_of(sheet, n) for n in range(3))]
    assert sizes[1] == pytest.approx((sizes[0][0] / 2, sizes[0][1]), abs=1)
    assert sizes[2] == pytest.approx((sizes[0][0], sizes[0][1] / 3), abs=1)


@pytest.mark.parametrize(("count", "ratio", "columns"), [(1, 0.75, 1), (21, 0.75, 6), (28, 0.5625, 5), (16, 0.53, 4)])
def test_columns(count, ratio, columns):
    assert column_count(count, ratio) == columns


def test_many_cameras_stay_readable():
    for count in range(1, 120):
        assert 1600 / column_count(count, 0.56) >= 200


def test_names_are_written(tmp_path):
    paths = images(tmp_path, [(64, 48)] * 2)
    renamed = dict(zip(("a", "b"), paths.values(), strict=True))
    assert np.any(np.asarray(draw_sheet(paths, title="x")) != np.asarray(draw_sheet(renamed, title="x")))


def test_the_file(tmp_path):
    write_sheet(images(tmp_path, [(64, 48)] * 2, ".jpg"), tmp_path / "sheet", title="two")
    with Image.open(tmp_path / "sheet") as image:
        assert (image.format, image.width) == ("PNG", 1600)


def test_a_damaged_image_is_named(tmp_path):
    paths = images(tmp_path, [(64, 48)] * 2)
    paths["cam01"].write_bytes(paths["cam01"].read_bytes()[:60])
    with pytest.raises(SceneError, match=r"cam01\.png: not a readable image"):
        draw_sheet(paths, title="")
