"""HTML as a value: text is escaped, only these functions make markup."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

IMAGE_WIDTH = 480  # pixels at most
JPEG_QUALITY = 85

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; padding-top: .6rem; border-top: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
.note { color: #555; font-size: .88rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e4e4e4; text-align: right; white-space: nowrap; }
th { color: #555; font-weight: 600; border-bottom: 2px solid #bbb; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; padding-left: .2rem; position: sticky; left: 0; background: #fff; }
table.facts td { text-align: left; white-space: normal; vertical-align: top; overflow-wrap: anywhere; }
table.facts td:first-child { color: #555; min-width: 7rem; overflow-wrap: normal; }
tr.strong td, tr.strong td:first-child { font-weight: 700; background: #f3f6fa; }
td.best { text-decoration: underline; text-underline-offset: 3px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: .7rem; margin: .6rem 0; }
.triples { grid-template-columns: repeat(3, 1fr); }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; background: #eee; }
figcaption { font-size: .82rem; color: #444; padding: .15rem 0; }
svg { width: 100%; height: auto; display: block; max-width: 60rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .86rem; margin: .2rem 0 .6rem; }
.swatch { display: inline-block; width: 1.1em; height: .7em; margin-right: .35em; border-radius: 2px; }
code, pre { font: .85rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f5; padding: .6rem .8rem; }
td code { overflow-wrap: anywhere; }
details { margin: .5rem 0; }
@media (max-width: 34rem) { th, td { padding: .3rem .35rem; font-size: .84rem; }
  .chart text { font-size: 20px; }
  .grid:not(.triples) { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); } }
summary { cursor: pointer; color: #0b57a4; padding: .3rem 0; }
"""


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is put into a page as it is."""

    text: str


Part = Html | str | int  # of a page; text and numbers are escaped


def joined(parts: Iterable[Part]) -> Html:
    """Put parts one after another."""
    return Html("".join(part.text if isinstance(part, Html) else html.escape(str(part)) for part in parts))


def element(tag: str, *parts: Part, **attributes: object) -> Html:
    """Make an element; an attribute `class_` is called class, and `_` in the others stands for "-"."""
    names = {name: "class" if name == "class_" else name.replace("_", "-") for name in attributes}
    given = "".join(
        f' {names[name]}="{html.escape(str(value))}"' for name, value in attributes.items() if value is not None
    )
    return Html(f"<{tag}{given}>{joined(parts).text}</{tag}>")


def empty_element(tag: str, **attributes: object) -> Html:
    """Make an element without contents, such as an image."""
    return Html(element(tag, **attributes).text.removesuffix(f"></{tag}>") + " />")


def table(headings: Sequence[Part], rows: Sequence[Sequence[Part]], *, strong: Sequence[int] = ()) -> Html:
    """Make a table that scrolls sideways; strong: indices of rows to stress. A cell may be a whole td."""
    head = element("tr", *(element("th", heading) for heading in headings))
    body = [
        element("tr", *(_cell(cell) for cell in row), class_="strong" if index in strong else None)
        for index, row in enumerate(rows)
    ]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def _cell(cell: Part) -> Html:
    return cell if isinstance(cell, Html) and cell.text.startswith("<td") else element("td", cell)


def facts_table(facts: Mapping[str, Part]) -> Html:
    """Make a table of two columns: names and values; long values wrap."""
    rows = [element("tr", element("td", name), element("td", value)) for name, value in facts.items()]
    return element("div", element("table", element("tbody", *rows), class_="facts"), class_="scroll")


def section(title: str, *parts: Part) -> Html:
    """Make a section with its heading."""
    return element("section", element("h2", title), *parts)


def note(*parts: Part) -> Html:
    """Make a paragraph of small print."""
    return element("p", *parts, class_="note")


def details(summary: str, *parts: Part) -> Html:
    """Make a part of the page that opens on a click."""
    return element("details", element("summary", summary), *parts)


def image(pixels: np.ndarray, caption: str, *, flat: bool = False) -> Html:
    """Show a uint8 image, [h, w, 3] or [h, w], with its caption; it is inside the page, and at most IMAGE_WIDTH wide.

    flat: an image of few colours with sharp edges; it becomes a PNG, others a JPEG.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    if picture.width > IMAGE_WIDTH:
        height = max(1, round(picture.height * IMAGE_WIDTH / picture.width))
        picture = picture.resize((IMAGE_WIDTH, height), Image.Resampling.NEAREST if flat else Image.Resampling.BOX)
    buffer = BytesIO()
    if flat:
        picture.quantize(32).save(buffer, format="PNG", optimize=True)
    else:
        picture.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = f"data:image/{'png' if flat else 'jpeg'};base64,{data}"
    shown = empty_element("img", src=source, alt=caption, width=picture.width, height=picture.height)
    return element("figure", shown, element("figcaption", caption))


def page(title: str, *parts: Part) -> str:
    """Make a whole page that needs no other file."""
    head = joined(
        [
            empty_element("meta", charset="utf-8"),
            empty_element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            Html(f"<style>{STYLE}</style>"),
        ]
    )
    body = element("body", element("h1", title), *parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head.text}</head>\n{body.text}</html>\n'
