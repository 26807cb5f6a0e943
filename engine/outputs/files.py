"""Where results go, in upstream's folders, and images as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from common.files import replacing


def write_png(path: Path, image: np.ndarray) -> Path:
    """Writes a uint8 image, [h, w, 3] RGB or [h, w] grey."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return path


def results_folder(save_path: Path, split: str, iteration: int, *, variant: str = "") -> Path:
    """`<save_path>/<train|test>/itrs_<N>` as upstream; `variant` ("y_offset_0.1") keeps other viewpoints apart."""
    return save_path / split / "_".join(part for part in (f"itrs_{iteration}", variant) if part)
