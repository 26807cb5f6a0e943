"""The facts that `.4dgs` files of `moegs.py export` tell of themselves, as JSON among the file's attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from moegs_rasterizer import RasterSettings
from moegs_rasterizer.types import RasterizerError
from moegs_rasterizer.validation import check_settings

FRAMES, FIRST, BACKGROUND, RASTER = "frames", "first_frame", "background", "raster"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFacts:
    """Facts of a file; files of other programs have none."""

    frames: int | None = None
    first_frame: int | None = None  # of the footage: the clip's first
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    settings: RasterSettings | None = None  # the convention that the splats are meant for; None: 3DGS's


def own_facts(text: str) -> OwnFacts:
    """The facts in the text of a file's attribute; ValueError, which names the fact, for values that cannot be."""
    told = json.loads(text)
    if not isinstance(told, Mapping):
        raise ValueError("its facts are no JSON object")
    return OwnFacts(
        frames=_whole(told, FRAMES, least=1),
        first_frame=_whole(told, FIRST, least=0),
        background=_background(told.get(BACKGROUND, [0.0, 0.0, 0.0])),
        settings=None if RASTER not in told else _settings(told[RASTER]),
    )


def _whole(told: Mapping[str, Any], name: str, *, least: int) -> int | None:
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"its fact {name} is {value!r}, expected a whole number of {least} or more")
    return value


def _background(value: object) -> tuple[float, float, float]:
    if isinstance(value, list) and len(value) == 3 and all(_is_number(each) and 0 <= each <= 1 for each in value):
        return (float(value[0]), float(value[1]), float(value[2]))
    raise ValueError(f"its fact {BACKGROUND} is {value!r}, expected three numbers between 0 and 1")


def _settings(value: object) -> RasterSettings:
    names = {field.name for field in fields(RasterSettings)}
    if not isinstance(value, Mapping) or not names.issuperset(value):
        raise ValueError(f"its fact {RASTER} is {value!r}, expected settings out of {', '.join(sorted(names))}")
    try:
        settings = RasterSettings(**value)
        check_settings(f"its fact {RASTER}", settings)
    except TypeError as error:
        raise ValueError(f"its fact {RASTER} is {value!r} ({error})") from error
    except RasterizerError as error:
        raise ValueError(str(error)) from error
    return settings


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
