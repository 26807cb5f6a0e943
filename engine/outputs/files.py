"""Files of a run's results: their folders and names, as upstream has them, and images as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from common.disk.contained import own_folder
from common.disk.files import replacing

PNG_LEVEL = 1  # of zlib: a third of the time of its default, for files a fifth larger
REPORT_FILE = "report.html"  # of a run or an expert, in its folder
FIGURE_FILE = "figure.png"  # of a run


def write_png(path: Path, image: np.ndarray) -> Path:
    """Writes a uint8 image, [h, w, 3] RGB or [h, w] grey."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", compress_level=PNG_LEVEL)
    return path


def image_name(camera: str, frame: int) -> str:
    """Name of an image's file without its suffix: "cam00_00012"."""
    return f"{camera}_{frame:05d}"


def results_folder(save_path: Path, split: str, iteration: int, *, variant: str = "") -> Path:
    """`<save_path>/<train|test>/itrs_<N>` as upstream; `variant` ("y_offset_0.1") keeps other viewpoints apart.

    OutsideError where one of the two folders is a link.
    """
    return own_folder(save_path, split, "_".join(part for part in (f"itrs_{iteration}", variant) if part))
