"""Text in images: titles, captions, and names that keep out of each other's way."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

MARGIN, TITLE = 8, 40  # px
INK, HALO = (15, 15, 25), (255, 255, 255)
_PLACES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))  # of a name around what it names
_STEPS = (0.9, 1.6, 2.6, 4.0, 6.0)  # how far off, in heights of a name
_APART = 3  # px left free on both sides of a name
_FAR = 1.5  # from here on a line leads from the name to what it names

Box = tuple[float, float, float, float]  # left, top, right, bottom


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own typeface at a size in px."""
    return ImageFont.load_default(size=size)


def titled(title: str, width: int, height: int, *, paper: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """Make a canvas with a title in its uppermost TITLE px; a title too long for it is set smaller."""
    canvas = Image.new("RGB", (width, height), paper)
    draw, size = ImageDraw.Draw(canvas), 24
    while size > 10 and draw.textlength(title, font=font(size)) > width - 2 * MARGIN:
        size -= 1
    draw.text((MARGIN, TITLE / 2), title, fill=INK, font=font(size), anchor="lm")
    return canvas


class Labels:
    """Names beside things of one image, none on another; a name for which there is no room is left out."""

    def __init__(self, image: Image.Image, size: int, *, colour: tuple[int, int, int]) -> None:
        self._draw = ImageDraw.Draw(image)
        self._font, self._size, self._colour = font(size), size, colour
        self._room: Box = (0, 0, *image.size)
        self._taken: list[Box] = []

    def keep_clear(self, box: Box) -> None:
        """Keep names out of a box."""
        self._taken.append(box)

    def put(self, name: str, x: float, y: float) -> bool:
        """Write a name next to a point in px, as near as there is room; False where there is none."""
        width, height = self._draw.textlength(name, font=self._font), float(self._size)
        for step in _STEPS:
            for across, down in _PLACES:
                middle_x = x + across * (width / 2 + (step - 0.4) * height)
                middle_y = y + down * step * height
                half = width / 2 + _APART
                box = (middle_x - half, middle_y - height / 2, middle_x + half, middle_y + height / 2)
                if self._is_free(box):
                    self._write(name, box, (x, y) if step >= _FAR else None)
                    return True
        return False

    def _is_free(self, box: Box) -> bool:
        left, top, right, bottom = self._room
        inside = left <= box[0] and top <= box[1] and box[2] <= right and box[3] <= bottom
        return inside and not any(_overlap(box, taken) for taken in self._taken)

    def _write(self, name: str, box: Box, named: tuple[float, float] | None) -> None:
        self._taken.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        if named is not None:
            self._draw.line([named, middle], fill=self._colour, width=1)
        self._draw.text(middle, name, fill=self._colour, font=self._font, anchor="mm", stroke_width=2, stroke_fill=HALO)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
