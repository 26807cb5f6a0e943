"""Pages of a given size hold the Gaussians that add most to the images."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.export.pages.export
from engine.errors import ConfigError
from engine.export.pages.budget import fitted
from engine.export.pages.contribution import most_contributions
from engine.export.pages.data import PageExpert
from engine.export.pages.page import ROOM, CodedPage, PagePictures, read_page
from engine.export.quality import QUALITIES
from engine.runs.run import Run, mix_camera
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.model import Splats
from tests.engine.export.pages import db, exported, pixels, varied_run
from tests.small_world import camera


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return varied_run(tmp_path)


def page_expert(name: str, count: int, pieces: int) -> PageExpert:
    """Gaussians with as many pieces each."""
    total = count * pieces
    generator = torch.Generator().manual_seed(count)
    splats = Splats(
        gaussians=CanonicalGaussians(
            means=torch.randn(total, 3, generator=generator),
            log_scales=torch.zeros(total, 3),
            quats=torch.ones(total, 4),
            opacity_logits=torch.zeros(total),
            sh_dc=torch.zeros(total, 1, 3),
            sh_rest=torch.zeros(total, 15, 3),
        ),
        times=torch.zeros(total),
        widths=torch.full((total,), torch.inf),
        velocities=torch.zeros(total, 3),
        windows=torch.tensor([-0.5, 9.5]).repeat(total, 1),
        num_frames=10,
    )
    return PageExpert(
        name=name, splats=splats, routing=torch.zeros(total, 3), rows=torch.arange(count).repeat_interleave(pieces)
    )


def test_the_gaussians_that_add_least_are_left_out_until_the_rest_fits() -> None:
    experts = [page_expert("A", 1000, 1), page_expert("B", 500, 4)]
    most = [torch.linspace(0, 10, 1000), torch.linspace(0, 5, 500)]
    sizes: list[int] = []

    def code(parts) -> CodedPage:
        sizes.append(10_000 + 30 * sum(len(each.rows) for each in parts))
        return CodedPage(splats="x" * sizes[-1], facts={})

    room = CodedPage(splats="", facts={}).size
    found = fitted(experts, most, code, size=room + 100_000, wanted=room + 60_000)
    assert len(sizes) <= 4 and room + 55_000 < found.coded.size <= room + 60_000
    assert found.left_out == {
        name: int((each <= found.least).sum()) for name, each in zip(("A", "B"), most, strict=True)
    }


def test_what_is_too_small_for_all_keeps_a_gaussian_of_each_expert() -> None:
    kept: list[PageExpert] = []

    def code(parts) -> CodedPage:
        kept.extend(parts)
        return CodedPage(splats="x" * 1000 * len(parts[0].rows), facts={})

    whole = code([page_expert("A", 10, 2)]).size
    kept.clear()
    fitted([page_expert("A", 10, 2)], [torch.arange(10.0)], code, size=whole, wanted=10)
    assert kept and all(part.rows.unique().tolist() == [9] for part in kept)


def test_contributions_are_weights_of_the_blended_image(run: Run) -> None:
    found = most_contributions(run, run.experts)
    size = camera(1).width * camera(1).height
    assert all(0 < float(each.max()) < size and float(each.min()) >= 0 for each in found)
    alone = most_contributions(run, run.experts[:1])[0]
    assert (alone >= found[0] - 1e-4).all() and float(alone.sum()) > 1.2 * float(found[0].sum())


def test_contributions_take_each_moment_once_with_the_number_of_its_camera(run: Run) -> None:
    renamed = tuple(replace(view, number=view.number + 10) for view in run.scene.views)
    most_contributions(replace(run, scene=replace(run.scene, views=renamed)), run.experts)
    assert sorted(run.experts[0].cameras) == sorted([11, 12] * run.scene.num_frames)


def test_a_page_is_as_large_as_it_may_be(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exported(run, tmp_path / "whole.html")
    changes = {"smaller": QUALITIES["small"]}
    assert exported(run, tmp_path / "fits.html", megabytes=30, **changes).stat().st_size == whole.stat().st_size
    limit = 0.7 * len(splats(whole)) / 1e6 + (whole.stat().st_size - len(splats(whole)) + ROOM) / 1e6
    tight = exported(run, tmp_path / "tight.html", megabytes=limit, quality=QUALITIES["high"])
    assert tight.stat().st_size < 1e6 * limit
    told = facts(tight)
    assert told["megabytes"] == limit and told["least_contribution"] > 0 and told["quality"] == "high"
    assert sum(each["adds_least"] for each in told["left_out"].values()) > 0
    theirs = PagePictures(read_page(tight), run.compute)(camera(1), 1)
    assert db(pixels(mix_camera(run, camera(1), 1).image), pixels(theirs)) > 30
    assert facts(exported(run, tmp_path / "thin.html", megabytes=limit, **changes))["quality"] == "high"
    monkeypatch.setattr(engine.export.pages.export, "MUCH_LARGER", 1.0)
    assert facts(exported(run, tmp_path / "small.html", megabytes=limit, **changes))["quality"] == "small"


@pytest.mark.parametrize("part", [0.1, 0.3, 0.6, 0.9])
def test_no_page_is_larger_than_its_size(run: Run, tmp_path: Path, part: float) -> None:
    named = tuple(replace(view, name="<" * 5000) for view in run.scene.views)  # 90 kB of facts, as of 200 cameras
    scene = replace(run.scene, views=named)
    watched = replace(run, scene=scene)
    whole = exported(watched, tmp_path / "whole.html").stat().st_size
    least = whole - len(splats(tmp_path / "whole.html"))
    limit = least + ROOM + part * (whole - least)
    size = exported(watched, tmp_path / "page.html", megabytes=limit / 1e6).stat().st_size
    assert limit - 2 * ROOM - 0.05 * limit < size <= limit


def test_a_size_that_no_page_has_is_refused_with_one_that_some_have(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--megabytes 0.03: a page with one Gaussian of each expert takes") as error:
        exported(run, tmp_path / "page.html", megabytes=0.03)
    assert not list(tmp_path.glob("*.html")) and "or --content NAME for one expert" in str(error.value)
    enough = float(re.search(r"takes ([\d.]+) MB", str(error.value))[1])
    assert exported(run, tmp_path / "page.html", megabytes=enough).stat().st_size <= 1e6 * enough


def test_smaller_pages_follow_where_the_predicted_ones_are_too_large() -> None:
    counts: list[int] = []

    def code(parts) -> CodedPage:  # far from a line
        counts.append(sum(len(each.rows) for each in parts))
        return CodedPage(splats="x" * (100_000 if counts[-1] > 3 else 10), facts={})

    room = CodedPage(splats="", facts={}).size
    found = fitted([page_expert("A", 1000, 1)], [torch.arange(1000.0)], code, size=room + 100_000, wanted=room + 1000)
    assert found.coded.size == room + 10 and 1 <= counts[-1] <= 3 and len(counts) < 12


def facts(path: Path) -> dict:
    return json.loads(re.search(r'<script id="facts" type="[a-z/]+">(.*?)</script>', path.read_text(), re.S)[1])


def splats(path: Path) -> str:
    return re.search(r'<script id="splats" type="[a-z/]+">(.*?)</script>', path.read_text(), re.S)[1]
