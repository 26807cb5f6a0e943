"""A page holds the mixture: it is read again, and needs nothing else. test_player.py opens pages in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.export.pages.page import PLAYER, SCRIPTS, PagePictures, read_page
from engine.runs.experts.images import image_of
from engine.runs.experts.novel_near import seen_in_training
from engine.runs.run import Run, mix_camera
from router.cues import CueLayer
from tests.engine.export.pages import db, exported, pixels, ruled_run, varied_run
from tests.small_world import FRAMES, camera


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return varied_run(tmp_path)


@pytest.fixture
def ruled(run: Run) -> Run:
    return ruled_run(run)


def test_a_page_read_again_is_the_mixture(run: Run, tmp_path: Path) -> None:
    page = read_page(exported(run, tmp_path / "page.html"))
    assert [each.name for each in page.experts] == [expert.name for expert in run.experts]
    assert [each.splats.settings for each in page.experts] == [expert.settings for expert in run.experts]
    shown = PagePictures(page, run.compute)
    for frame in range(FRAMES):
        ours, theirs = mix_camera(run, camera(1), frame).image, shown(camera(1), frame)
        assert db(pixels(ours), pixels(theirs)) > 38


def test_a_page_of_one_expert_shows_it(run: Run, tmp_path: Path) -> None:
    expert = run.experts[1]
    page = read_page(exported(run, tmp_path / "page.html", expert=expert))
    assert [each.name for each in page.experts] == [expert.name]
    theirs = PagePictures(page, run.compute)(camera(1), 2)
    assert db(pixels(image_of(expert, camera(1), 2, compute=run.compute)), pixels(theirs)) > 38


def test_what_a_page_cannot_play_is_refused(run: Run, tmp_path: Path) -> None:
    run.router.cues = CueLayer(len(run.experts))
    with pytest.raises(ConfigError, match="a page cannot blend by --cues, which this router was trained with"):
        exported(run, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    exported(run, tmp_path / "page.html", expert=run.experts[0])
    (tmp_path / "other.html").write_text("<html></html>")
    with pytest.raises(ConfigError, match=r"other.html: is no page of moegs.py export \(no facts in it\)"):
        read_page(tmp_path / "other.html")


def test_a_page_needs_nothing_else(run: Run, tmp_path: Path) -> None:
    text = exported(run, tmp_path / "page.html").read_text()
    assert "{{" not in text and not any(word in text for word in ("http:", "https:", "src=", "import "))
    assert all((PLAYER / name).read_text() in text for name in (*SCRIPTS, "sorter.js"))


UNGUARDED = {"coverage_guard": False, "hole_colour": None}


@pytest.mark.parametrize(
    ("given", "less"),
    [
        ({}, {"culling": None}),
        ({}, UNGUARDED),
        ({}, {"hole_colour": None}),
        ({**UNGUARDED, "towards_mean": 0.8}, {"towards_mean": 0.0}),
    ],
)
def test_a_page_has_the_rules_of_new_views(
    ruled: Run, tmp_path: Path, given: dict[str, Any], less: dict[str, Any]
) -> None:
    ruled = replace(ruled, novel=replace(ruled.novel, **given))
    page = read_page(exported(ruled, tmp_path / "page.html"))
    held_out = ruled.scene.views[0].camera
    theirs = pixels(PagePictures(page, ruled.compute)(held_out, 1))
    without = replace(ruled, novel=replace(ruled.novel, **less))
    assert db(pixels(mix_camera(ruled, held_out, 1).image), theirs) > 45
    assert db(pixels(mix_camera(without, held_out, 1).image), theirs) < 40


def test_a_page_of_one_expert_has_holes_where_it_covers_less_than_in_training(ruled: Run, tmp_path: Path) -> None:
    expert, held_out = ruled.experts[1], ruled.scene.views[0].camera
    shown = PagePictures(read_page(exported(ruled, tmp_path / "alone.html", expert=expert)), ruled.compute)
    colour, coverage = seen_in_training(ruled.scene, [expert], ruled.compute)
    own = replace(ruled.novel, hole_colour=colour, usual_coverage=coverage)
    images = [image_of(expert, held_out, 1, compute=ruled.compute, novel=rules) for rules in (own, ruled.novel)]
    by_own, by_all = (db(pixels(image), pixels(shown(held_out, 1))) for image in images)
    assert by_own > 45 and by_all < 40
