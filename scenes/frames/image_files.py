"""Frames kept as image files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.disk.contained import regular
from common.disk.faults import reading
from common.text.wording import first_and_more
from scenes.types import SceneError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm")
_ORIENTATION = 0x0112  # EXIF tag; 1 is upright
ADVICE = "copy it again or put a neighbouring frame in its place"  # for an image that cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedImages:
    """Images of one camera by frame number."""

    paths: Mapping[int, Path]
    width: int
    height: int
    has_alpha: bool = False  # told by the first image
    has_rotation: bool = False  # told by the first image's EXIF data; not applied, as COLMAP does not apply it either

    @property
    def first(self) -> int:
        return min(self.paths)

    @property
    def last(self) -> int:
        return max(self.paths)

    def run(self, start: int) -> int:
        """Count the frames from `start` on without a gap."""
        count = 0
        while start + count in self.paths:
            count += 1
        return count

    def files(self, start: int, count: int) -> list[Path]:
        """List the files that the frames [start, start + count) come from."""
        return [self.paths[number] for number in range(start, start + count)]


def numbered_images(folder: Path) -> dict[int, Path]:
    """Find a folder's images whose names are integers (0.png, 000000.jpg); SceneError where two have one number."""
    return keyed_images((int(path.stem), path) for path in images_of(folder) if path.stem.isdecimal())


def images_of(folder: Path) -> list[Path]:
    """List the image files directly inside a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def keyed_images(numbered: Iterable[tuple[int, Path]]) -> dict[int, Path]:
    """Map numbers to files; SceneError where two files claim one number."""
    paths: dict[int, Path] = {}
    for number, path in numbered:
        if number in paths:
            raise SceneError(f"{path} and {paths[number].name} are both frame {number}: keep one set of images")
        paths[number] = path
    return paths


def probe_images(paths: Mapping[int, Path]) -> NumberedImages:
    """Read size, alpha and rotation from the header of the first image; SceneError where it cannot be read."""
    path = paths[min(paths)]
    with reading(path, "not a readable image", SceneError, advice=ADVICE), Image.open(regular(path)) as image:
        width, height = image.size
        has_alpha = image.has_transparency_data
        # Not the PNG reader's own method, which decodes the whole image. Pillow itself turns TIFFs.
        has_rotation = image.format != "TIFF" and Image.Image.getexif(image).get(_ORIENTATION, 1) != 1
    return NumberedImages(paths=paths, width=width, height=height, has_alpha=has_alpha, has_rotation=has_rotation)


def rotation_notes(sources: Mapping[str, object]) -> list[str]:
    """Say which cameras' images have an EXIF rotation, and what is done about it. sources: by camera name."""
    images = {name: source for name, source in sources.items() if isinstance(source, NumberedImages)}
    turned = [name for name, source in images.items() if source.has_rotation]
    if not turned:
        return []
    size = f"{images[turned[0]].width}x{images[turned[0]].height} px"
    return [
        f"images have an EXIF rotation, which is not applied: they are used as stored, {size} "
        f"({first_and_more(turned)}); if they were calibrated upright, save them upright, without the EXIF entry"
    ]


def decode_images(images: NumberedImages, start: int, count: int) -> Iterator[np.ndarray]:
    """Yield uint8 [height, width, 3] RGB of the frames [start, start + count).

    An alpha channel is composited on black, and of 16 bits the upper 8 are kept. EXIF rotation is not applied.
    SceneError where a file is damaged, has more bits, or has another size than the camera's first image.
    """
    for path in images.files(start, count):
        with reading(path, "not a readable image", SceneError, advice=ADVICE), Image.open(regular(path)) as image:
            frame = _rgb(image, path)
        if frame.shape[:2] != (images.height, images.width):
            raise SceneError(
                f"{path}: {frame.shape[1]}x{frame.shape[0]} px, but the camera's first image has "
                f"{images.width}x{images.height}; extract the frames again"
            )
        yield frame


def _rgb(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)  # as Pillow reads 16-bit RGB
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise SceneError(f"{path}: 32 bits a pixel, 8 and 16 are supported; save the images as 8-bit PNG")
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    with_alpha = image.convert("RGBA")
    if np.asarray(with_alpha)[..., 3].min() == 255:
        return np.asarray(image.convert("RGB"))
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, with_alpha).convert("RGB"))
