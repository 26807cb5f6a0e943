"""Line charts as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.outputs.colours import expert_colours
from engine.reporting.pages.markup import Html, element, empty_element, joined, note

WIDTH, HEIGHT = 760, 300  # of a chart, units of its own
LEFT, RIGHT, TOP, BOTTOM = 96, 24, 12, 48  # margins; the left one has room for the large text of phones
TICKS = 6  # about, on an axis
MOST_POINTS = 400  # of a line
STRONG = "#111111"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a chart; points whose y is not finite are gaps."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.6
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Values shown from `low` to `high`, between two ends in units of the chart."""

    low: float
    high: float
    ends: tuple[float, float]

    def place(self, value: float) -> float:
        start, stop = self.ends
        return start + (value - self.low) / (self.high - self.low) * (stop - start)


def colour_of(index: int) -> str:
    """The colour of an expert, by its number: that of its maps."""
    red, green, blue = expert_colours(index + 1)[index]
    return f"#{red:02x}{green:02x}{blue:02x}"


def line_chart(lines: Sequence[Line], *, x: str, y: str) -> Html:
    """Draw lines with axes, their names `x` and `y`, and a legend of several; a note where there is nothing to draw."""
    shown = [_thinned(line) for line in lines]
    points = [point for line in shown for point in line.points if math.isfinite(point[1])]
    if not points:
        return note("There are no values to draw.")
    across = _axis([point[0] for point in points], ends=(LEFT, WIDTH - RIGHT), margin=0.0)
    upward = _axis([point[1] for point in points], ends=(HEIGHT - BOTTOM, TOP), margin=0.06)
    parts = [*_grid(across, upward), *_labels(x, y)]
    parts += [part for line in shown for part in _polylines(line, across, upward)]
    drawing = element("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{y} over {x}")
    names = [(line.name, line.colour) for line in lines] if len(lines) > 1 else []
    return joined([element("div", drawing, class_="chart"), *([legend(names)] if names else [])])


def _thinned(line: Line) -> Line:
    step = -(-len(line.points) // MOST_POINTS)
    points = list(line.points[::step]) if step > 1 else list(line.points)
    return Line(name=line.name, points=points, colour=line.colour, width=line.width, dashed=line.dashed)


def _axis(values: Sequence[float], *, ends: tuple[float, float], margin: float) -> _Axis:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    free = margin * (high - low)
    return _Axis(low=low - free, high=high + free, ends=ends)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about TICKS of them."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Texts of an axis's values, all with as many decimals as the longest needs: 24.0, 24.5."""
    texts = [f"{value:g}" for value in values]
    if any("e" in text for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{value:.{decimals}f}" for value in values]


def _grid(across: _Axis, upward: _Axis) -> Iterator[Html]:
    values = ticks(upward.low, upward.high)
    for value, text in zip(values, tick_texts(values), strict=True):
        height = f"{upward.place(value):.1f}"
        yield empty_element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, stroke="#e2e2e2")
        yield _text(text, LEFT - 6, upward.place(value) + 4, anchor="end")
    values = ticks(across.low, across.high)
    for value, text in zip(values, tick_texts(values), strict=True):
        yield _text(text, across.place(value), HEIGHT - BOTTOM + 17, anchor="middle")
    yield empty_element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, stroke="#888888")


def _labels(x: str, y: str) -> Iterator[Html]:
    yield _text(x, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield _text(y, 14, middle, anchor="middle", transform=f"rotate(-90 14 {middle:g})")


def _text(text: str, x: float, y: float, *, anchor: str, transform: str | None = None) -> Html:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}"}
    return element("text", text, **place, font_size=12, fill="#444", text_anchor=anchor, transform=transform)


def _polylines(line: Line, across: _Axis, upward: _Axis) -> Iterator[Html]:
    """One polyline for each part between gaps; a part of a single point is a dot."""
    for part in _parts(line.points):
        places = [(across.place(x), upward.place(y)) for x, y in part]
        if len(places) == 1:
            yield empty_element("circle", cx=f"{places[0][0]:.1f}", cy=f"{places[0][1]:.1f}", r=2.5, fill=line.colour)
            continue
        yield element(
            "polyline",
            element("title", line.name),
            points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places),
            fill="none",
            stroke=line.colour,
            stroke_width=line.width,
            stroke_linejoin="round",
            stroke_dasharray="5 4" if line.dashed else None,
        )


def _parts(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    part: list[tuple[float, float]] = []
    for point in points:
        if math.isfinite(point[1]):
            part.append(point)
        elif part:
            yield part
            part = []
    if part:
        yield part


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """Name colours: (name, colour) pairs."""
    entries = [
        element("span", element("span", class_="swatch", style=f"background:{colour}"), name) for name, colour in names
    ]
    return element("div", *entries, class_="legend")
