from __future__ import annotations

import numpy as np
from PIL import Image

from engine.outputs.files import results_folder, write_png


def test_images_are_written_as_they_are(tmp_path):
    pixels = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    for image in (pixels, pixels[:, :, 0]):
        assert np.array_equal(np.asarray(Image.open(write_png(tmp_path / "deep" / "a.png", image))), image)


def test_results_folder_keeps_upstreams_names_and_other_viewpoints_apart(tmp_path):
    assert results_folder(tmp_path, "test", 5000) == tmp_path / "test" / "itrs_5000"
    assert results_folder(tmp_path, "test", 5000, variant="y_offset_0.1").name == "itrs_5000_y_offset_0.1"
