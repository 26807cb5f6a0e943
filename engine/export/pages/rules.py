"""The rules of a page at cameras that nobody trained on: what its header tells, and the player and our reader do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from moegs_rasterizer import Camera

from engine.runs.experts.novel_near import seen_in_training
from engine.runs.run import Run
from experts.base import Expert
from experts.novel_views import novel_view_culling
from router.novel_views import NovelViews


def page_rules(run: Run, expert: Expert | None) -> NovelViews:
    """The rules of a run that its page has: all but the filling of holes, which needs many passes.

    expert: that the page is of alone, None for all. What it covers less than at training views is a hole then, not what
    it covers less than all experts do: one trained before black leaves dark things to it.
    """
    novel = replace(run.novel, fill_holes=False)
    if expert is None or not novel.coverage_guard or len(run.experts) == 1:
        return novel
    colour, coverage = seen_in_training(run.scene, [expert], run.compute)
    return replace(novel, hole_colour=colour, usual_coverage=coverage)


def rules_facts(novel: NovelViews) -> dict[str, Any]:
    """Rules as a page tells them; the training cameras are among its cameras."""
    guard = {"usual_coverage": novel.usual_coverage, "hole_colour": novel.hole_colour}
    return {
        "near": None if novel.culling is None else novel.culling.near,
        "guard": guard if novel.coverage_guard else None,
        "towards_mean": novel.towards_mean,
    }


def rules_of(facts: Mapping[str, Any]) -> NovelViews:
    """The rules that a page's facts tell."""
    rules = facts["rules"]
    cameras = [_camera(each) for each in facts["cameras"] if each["training"]]
    near, guard = rules["near"], rules["guard"]
    plain = NovelViews(
        culling=None if near is None else novel_view_culling(near, cameras, device=torch.device("cpu")),
        towards_mean=rules["towards_mean"],
    )
    if guard is None:
        return plain
    colour = guard["hole_colour"]
    return replace(
        plain,
        coverage_guard=True,
        hole_colour=None if colour is None else tuple(colour),
        usual_coverage=guard["usual_coverage"],
    )


def _camera(facts: Mapping[str, Any]) -> Camera:
    names = ("fx", "fy", "cx", "cy", "width", "height")
    matrix = torch.tensor(facts["world_to_camera"]).view(4, 4)
    return Camera(world_to_camera=matrix, **{name: facts[name] for name in names})
