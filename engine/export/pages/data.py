"""The splats of a page as arrays of bytes: packed for engine/player/data.js, and read again."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from moegs_rasterizer import RasterSettings
from torch import Tensor

from engine.export.pages.arrays import array_bytes, read_arrays
from engine.export.pages.chains import Cells, Columns, Pieces, chain_order, chained, steps_of, unchained
from engine.export.pages.palette import CodedHarmonics, coded_harmonics
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.model import Splats
from experts.splats.sh_bytes import UNIT

LEVEL = 6  # of zlib: 9 takes three times as long, for a percent
TIME = 64  # steps of a bell's moment in a frame
ROUTING = 64  # steps of a routing weight in a unit
ENDLESS = 0  # in the place of a width that is inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PageGrid:
    """The fineness of a page's values."""

    place: float  # step of places, in units of the Gaussian's size
    quat: int  # steps of a quaternion's component in a unit
    colour: int  # steps of a coefficient of degree 0 in a unit
    sh_steps: tuple[int, int, int]  # between bytes that are used, of the coefficients of degree 1, 2 and 3
    palette: int | None  # entries of an expert's harmonics; None: each has its own


@dataclass(frozen=True, slots=True, kw_only=True)
class PageExpert:
    """An expert of a page."""

    name: str
    splats: Splats
    routing: Tensor  # [n, 3] the router's weights: base, directional, temporal
    rows: Tensor  # [n] the Gaussian that each splat is a piece of

    def of(self, mask: Tensor) -> PageExpert:
        """The splats of a mask [n]."""
        given = self.splats
        splats = Splats(
            gaussians=CanonicalGaussians(**{name: p.detach()[mask] for name, p in given.gaussians.named_parameters()}),
            times=given.times[mask],
            widths=given.widths[mask],
            velocities=given.velocities.detach()[mask],
            windows=given.windows[mask],
            num_frames=given.num_frames,
            settings=given.settings,
            background=given.background,
        )
        return PageExpert(name=self.name, splats=splats, routing=self.routing[mask], rows=self.rows[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered:
    """An expert's splats in chains."""

    expert: PageExpert
    order: Tensor  # [n] of its splats
    cells: Cells
    places: np.ndarray  # [n, 3] at the first frame, in that order
    harmonics: CodedHarmonics


def packed(experts: Sequence[PageExpert], *, cameras: Sequence[Tensor], grid: PageGrid) -> tuple[str, dict[str, Any]]:
    """The text of all splats, and what a reader needs to know of it.

    cameras: centres [3] of those that colours are to be right for.
    """
    ordered = [_ordered(each, cameras, grid) for each in experts]
    degree = max(each.harmonics.degree for each in ordered)
    if any(each.harmonics.degree != degree for each in ordered):  # one width for all: those of a lower degree get it
        ordered = [_ordered(each, cameras, grid, degree=degree) for each in experts]
    logs = [each.splats.gaussians.log_scales.detach() for each in experts]
    low, high = min(float(each.min()) for each in logs), max(float(each.max()) for each in logs) + 1e-6
    columns = [_columns(each, grid, low, high) for each in ordered]
    entries = np.cumsum([0, *(len(each.harmonics.codes) for each in ordered)])
    for each, start in zip(columns, entries[:-1], strict=True):
        each["harmonics"] = each["harmonics"] + start
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    if grid.palette is None:
        del joined["harmonics"]  # each change has the next entry
    joined["entries"] = np.concatenate([each.harmonics.codes for each in ordered])
    table, body = array_bytes(joined)
    facts = {
        "count": sum(each.splats.num_gaussians for each in experts),
        "degree": degree,
        "entries": int(joined["entries"].shape[0]),
        "harmonics": int(joined["entries"].shape[1]),
        "ranges": {
            "scales": [low, high],
            "colour": grid.colour,
            "place": grid.place,
            "time": TIME,
            "routing": ROUTING,
        },
        "arrays": table,
        "experts": [_facts(each, column) for each, column in zip(ordered, columns, strict=True)],
    }
    text = base64.b64encode(zlib.compress(body, LEVEL)).decode("ascii")
    return text, facts


def unpacked(text: str, facts: Mapping[str, Any]) -> list[PageExpert]:
    """The experts that `packed` wrote. facts: of the page."""
    columns = read_arrays(facts["arrays"], zlib.decompress(base64.b64decode(text)))
    entries = columns.pop("entries").reshape(facts["entries"], facts["harmonics"])
    if "harmonics" not in columns:
        columns["harmonics"] = np.arange(len(entries))
    pieces = unchained(columns, [expert["chains"] for expert in facts["experts"]])
    ends = np.cumsum([expert["count"] for expert in facts["experts"]])
    return [
        _expert(known, {name: values[end - known["count"] : end] for name, values in pieces.items()}, entries, facts)
        for known, end in zip(facts["experts"], ends, strict=True)
    ]


def _ordered(expert: PageExpert, cameras: Sequence[Tensor], grid: PageGrid, degree: int = 0) -> _Ordered:
    splats, given = expert.splats, expert.splats.gaussians
    first = (splats.windows[:, 0] + 0.5).round()
    places = given.means.detach() + (first - splats.times)[:, None] * splats.velocities.detach()
    chains, cells = chain_order(_numpy(expert.rows), _numpy(first), _numpy(places))
    order = torch.from_numpy(chains).to(first.device)
    sh = torch.cat([given.sh_dc, given.sh_rest], dim=1).detach()[order]
    fresh = torch.ones(len(sh), dtype=torch.bool, device=sh.device)
    fresh[1:] = (expert.rows[order][1:] != expert.rows[order][:-1]) | (sh[1:, 1:] != sh[:-1, 1:]).flatten(1).any(dim=1)
    harmonics = coded_harmonics(
        sh, places[order], fresh, cameras, steps=grid.sh_steps, entries=grid.palette, least=degree
    )
    return _Ordered(expert=expert, order=order, cells=cells, places=_numpy(places[order]), harmonics=harmonics)


def _columns(ordered: _Ordered, grid: PageGrid, low: float, high: float) -> Columns:
    expert, order, splats = ordered.expert, ordered.order, ordered.expert.splats
    given, rows = splats.gaussians, _numpy(expert.rows[order])
    first, last = np.rint(_numpy(splats.windows[order]) + np.array([0.5, -0.5])).astype(np.int64).T
    scales = _rounded(255 / (high - low) * (given.log_scales[order] - low))
    widths = _numpy(splats.widths[order])
    endless = ~np.isfinite(widths)
    starts = np.ones(len(rows), bool)
    starts[1:] = rows[1:] != rows[:-1]
    pieces = Pieces(
        starts=starts,
        places=ordered.places,
        moves=_numpy(splats.velocities[order]) * (last - first)[:, None],
        first=first,
        last=last,
        values={
            "quats": _rounded(given.quats[order] * grid.quat),
            "scales": scales,
            "opacities": _rounded(given.opacity_logits[order].sigmoid() * 255),
            "colours": _rounded(ordered.harmonics.dc * grid.colour),
            "harmonics": _numpy(ordered.harmonics.index),
            "routing": _rounded(expert.routing[order] * ROUTING),
            "widths": np.where(endless, ENDLESS, widths).astype(np.float16),
            "times": _rounded(splats.times[order] * TIME) * ~endless,
        },
    )
    return chained(pieces, low + (high - low) * scales / 255, fine=grid.place, cells=ordered.cells)


def _facts(ordered: _Ordered, columns: Columns) -> dict[str, Any]:
    splats = ordered.expert.splats
    return {
        "name": ordered.expert.name,
        "count": splats.num_gaussians,
        "chains": len(columns["pieces"]),
        "cells": asdict(ordered.cells),
        "background": list(splats.background),
        "raster": asdict(splats.settings),
    }


def _expert(
    known: Mapping[str, Any], pieces: Mapping[str, np.ndarray], entries: np.ndarray, facts: Mapping[str, Any]
) -> PageExpert:
    """One expert of a page, its splats in the order that `Splats` gives them. pieces: as `unchained` gives them."""
    pieces = {name: values[pieces["first"].argsort(kind="stable")] for name, values in pieces.items()}
    low, high = facts["ranges"]["scales"]
    cells, first, last = Cells(**known["cells"]), pieces["first"], pieces["last"]
    logs = low + (high - low) * pieces["scales"] / 255
    steps = steps_of(low + (high - low) * pieces["head_scales"] / 255, facts["ranges"]["place"], cells)[:, None]
    endless = pieces["widths"] == ENDLESS
    times = np.where(endless, first, pieces["times"] / TIME)
    velocities = pieces["moves"] * steps / np.maximum(1, last - first)[:, None]
    places = np.asarray(cells.corner) + pieces["corners"] * cells.size + pieces["places"] * steps
    rest = torch.zeros(known["count"], 15, 3)
    if facts["degree"]:
        codes = (_float(entries[pieces["harmonics"]]) - 127.5) * UNIT
        rest[:, : codes.shape[1] // 3] = codes.unflatten(1, (3, -1)).transpose(1, 2)
    splats = Splats(
        gaussians=CanonicalGaussians(
            means=_float(places + (times - first)[:, None] * velocities),
            log_scales=_float(logs),
            quats=_float(pieces["quats"]),
            opacity_logits=_float(pieces["opacities"] / 255).clamp(1e-6, 1 - 1e-6).logit(),
            sh_dc=_float(pieces["colours"] / facts["ranges"]["colour"])[:, None],
            sh_rest=rest,
        ),
        times=_float(times),
        widths=_float(np.where(endless, np.inf, pieces["widths"])),
        velocities=_float(velocities),
        windows=_float(np.stack([first - 0.5, last + 0.5], axis=1)),
        num_frames=facts["frames"],
        settings=RasterSettings(**known["raster"]),
        background=known["background"],
    )
    routing = _float(pieces["routing"] / ROUTING)
    return PageExpert(name=known["name"], splats=splats, routing=routing, rows=torch.from_numpy(pieces["chain"]))


def _rounded(values: Tensor) -> np.ndarray:
    return np.rint(_numpy(values)).astype(np.int64)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
