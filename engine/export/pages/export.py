"""The export of a page: in the exactness that is asked for, or as exact as its size allows."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from common.text.units import MEGABYTE
from common.text.wording import counted, file_size_text
from engine.errors import ConfigError
from engine.evaluation.held_out import ImageAt, mixtures_of
from engine.export.cleaning.kept import Kept
from engine.export.job import Export, Facts, Prepared
from engine.export.pages.budget import fitted
from engine.export.pages.contribution import most_contributions
from engine.export.pages.data import PageExpert
from engine.export.pages.page import (
    MOST_EXPERTS,
    CodedPage,
    Page,
    PagePictures,
    camera_facts,
    coded_page,
    read_page,
    write_page,
)
from engine.export.pages.rules import page_rules
from engine.runs.experts.images import image_of
from experts.base import Expert
from router.novel_views import NovelViews
from scenes.trajectories import looked_at

logger = logging.getLogger(__name__)

MUCH_LARGER = 1.3  # than wanted: that much goes for 0.01 dB, and `small` loses more
MIXTURE, PAGE = "mixture", "page"
LIKELY = 60  # bytes of a Gaussian in a page of the best quality, at least: where they are too many, it is not tried


def as_page(export: Export) -> Prepared:
    """A page of the run, or of one of its experts; ConfigError where a page cannot play it."""
    run = export.run
    experts = run.experts if export.expert is None else (export.expert,)
    _check(export, experts)
    training = [run.scene.views[view] for view in run.scene.train]
    known = {
        "title": run.scene.name,
        "fps": export.fps,
        "target": [float(value) for value in looked_at(training)],
        "cameras": [
            *(camera_facts(run.scene.views[view], training=False) for view in run.scene.test),
            *(camera_facts(view, training=True) for view in training),
        ],
    }
    rules = page_rules(run, export.expert)
    coded, left_out, told = _coded(export, experts, rules, known)

    def write(path: Path, facts: Facts) -> None:
        write_page(path, coded, facts=facts)

    def read(path: Path) -> Mapping[str, ImageAt]:
        return {PAGE: PagePictures(read_page(path), run.compute)}

    alone = {each.name: partial(image_of, each, compute=run.compute, novel=rules) for each in experts}
    sources = alone if export.expert is not None else {MIXTURE: mixtures_of(run)}
    return Prepared(write=write, sources=sources, read=read, left_out=left_out, told=told)


def _check(export: Export, experts: Sequence[Expert]) -> None:
    if len(experts) > MOST_EXPERTS:
        raise ConfigError(f"a page holds {MOST_EXPERTS} experts at most, the run has {len(experts)}; give --content")
    if export.run.router.cues is not None and len(experts) > 1:
        raise ConfigError("a page cannot blend by --cues, which this router was trained with; give --content NAME")


def _coded(
    export: Export, experts: Sequence[Expert], rules: NovelViews, known: Facts
) -> tuple[CodedPage, dict[str, dict[str, int]], dict[str, object]]:
    """The page, by expert the counts of Gaussians that it does without, and what it tells of its exactness.

    known: facts for the player. ConfigError where no page of these experts is as small as wanted.
    """
    wanted = None if export.megabytes is None else int(export.megabytes * MEGABYTE)
    smaller = None
    if wanted is not None and export.smaller is not None:
        smaller = replace(export, quality=export.smaller, smaller=None)
        if sum(each.num_gaussians for each in experts) * LIKELY > wanted:
            return _coded(smaller, experts, rules, known)
    parts, left_out = _parts(export, experts)
    code = partial(_code, export, rules, known)
    coded = code(parts)
    if smaller is not None and wanted is not None and coded.size > MUCH_LARGER * wanted:
        return _coded(smaller, experts, rules, known)
    told: dict[str, object] = {"quality": export.quality.name}
    if wanted is None or coded.size <= wanted:
        return coded, left_out, told
    logger.info("the page would have %s: those Gaussians are looked for that add least", file_size_text(coded.size))
    most = most_contributions(export.run, experts, progress=export.progress)
    found = fitted(parts, most, code, size=coded.size, wanted=wanted)
    if found.coded.size > wanted:
        raise _too_small(found.coded.size, experts, export)
    for name, count in found.left_out.items():
        left_out[name]["adds_least"] = count
    logger.info(
        "to fit %g MB, %s of %s are left out that add less than %.2g px to any training image, in quality %s",
        export.megabytes,
        f"{sum(found.left_out.values()):,}",
        counted(sum(len(part.rows.unique()) for part in parts), "Gaussian"),
        found.least,
        export.quality.name,
    )
    return found.coded, left_out, told | {"megabytes": export.megabytes, "least_contribution": found.least}


def _too_small(least: int, experts: Sequence[Expert], export: Export) -> ConfigError:
    """The error for a size that no page has. least: bytes of one with a Gaussian of each expert."""
    enough = math.ceil(100 * least / MEGABYTE) / 100
    one = ", or --content NAME for one expert" if len(experts) > 1 else ""
    return ConfigError(
        f"--megabytes {export.megabytes:g}: a page with one Gaussian of each expert takes {enough:g} MB; give that or "
        f"more{one}"
    )


def _parts(export: Export, experts: Sequence[Expert]) -> tuple[list[PageExpert], dict[str, dict[str, int]]]:
    kept = {expert.name: export.kept(expert, floaters=False) for expert in experts}
    parts = [_page_expert(export, expert, kept[expert.name]) for expert in experts]
    return parts, {name: each.facts() for name, each in kept.items()}


def _page_expert(export: Export, expert: Expert, kept: Kept) -> PageExpert:
    """An expert's splats with the routing weights of their Gaussians."""
    followed, features = export.followed(expert, kept), export.run.router.features
    index = export.run.experts.index(expert)
    table = torch.cat([features.static[index], features.temporal[index]], dim=1).detach()
    return PageExpert(name=expert.name, splats=followed.splats, routing=table[followed.rows], rows=followed.rows)


def _code(export: Export, rules: NovelViews, known: Facts, parts: Sequence[PageExpert]) -> CodedPage:
    run = export.run
    page = Page(
        experts=parts,
        frames=run.scene.num_frames,
        head={name: value.detach().cpu() for name, value in run.router.head.state_dict().items()},
        head_kind=run.router.head_kind,
        temperature=run.router.eval_temperature,
        novel=rules,
    )
    training = [run.scene.views[view] for view in run.scene.train]
    return coded_page(page, cameras=training, grid=export.quality.page, facts=known)
