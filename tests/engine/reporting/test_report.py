"""`moegs.py report`: the page of a run, of an expert, and what it does without its scene."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import moegs
from engine.commands import train
from engine.reporting.pages.worth import measure_worth
from tests.small_world import RestoredWorld

VOID = {"meta", "img", "line", "circle"}


class Checker(HTMLParser):
    """Finds elements that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        assert tag in VOID, tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def text_of(path: Path) -> str:
    checker = Checker()
    page = path.read_text(encoding="utf-8")
    checker.feed(page)
    assert checker.open == []
    assert not re.findall(r'src="(?!data:)|href=|https?://|<script', page)
    return re.sub(r"\s+", " ", " ".join(checker.text))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> RestoredWorld:
    """A run "out" of the small world, trained and rendered with PNGs, which names the commands that follow."""

    def make(root: Path, flags: list[str]) -> None:
        out = root / "out"
        assert train.main("E3", [*flags, f"--save_path={out}", "--iterations=20"]) == 0
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert moegs.main(["render", f"--save_path={out}", "--skip_train", "--save_img", "--quiet"]) == 0
        commands = printed.getvalue().splitlines()[-2:]
        assert all(f"moegs.py {name} {out}" in line for name, line in zip(("report", "figure"), commands, strict=True))

    return RestoredWorld.made(tmp_path_factory.mktemp("report"), make)


@pytest.fixture
def rendered(world: RestoredWorld, monkeypatch: pytest.MonkeyPatch) -> Path:
    return world.restored(monkeypatch) / "out"


def test_the_page_of_a_run(rendered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert moegs.main(["report", str(rendered), "--quiet"]) == 0
    target = rendered / "report.html"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Scores on the held-out camera: ") and printed[-1].startswith(f"written: {target} (")
    assert target.stat().st_size < 5_000_000
    text = text_of(target)
    facts = json.loads((rendered / "test" / "itrs_20" / "metrics.json").read_text())
    for method in facts["means"].values():
        assert f"{method['psnr']:.2f}" in text and f"{method['ssim']:.4f}" in text
    headings = ("Scores", "PSNR over time", "Best frame in PSNR", "Worst frame in PSNR", "Experts", "Conditions")
    assert all(heading in text for heading in (*headings, "Training of the router", "Files and hashes"))
    assert "MoE-GS against every one of its 3 experts:" in text
    assert facts["hashes"]["router"] in text and facts["hashes"]["predictions"]["MoE"] in text
    assert "training loss" in text and "no training.csv" not in text
    page = target.read_text()
    assert page.count("<img") == 2 * (5 + 3) and page.count("<polyline") == 4 + 2
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)
    best = [re.sub(r"<[^>]*>", " ", row).split()[0] for row in rows if 'class="best"' in row]
    assert best and not {"best", "oracle_pixel", "oracle_window", "oracle_frame"} & set(best), "they see the answer"


def test_worth_is_measured_by_frames(rendered: Path) -> None:
    run = moegs.load_run(rendered)
    worth = measure_worth(run, [(0, 0), (0, 3)], quiet=True)
    assert worth.frames == 2 and sum(worth.won.values()) == pytest.approx(1.0)
    facts = json.loads((rendered / "test" / "itrs_20" / "metrics.json").read_text())
    measured = [facts["per_frame"][frame]["scores"]["MoE"]["psnr"] for frame in (0, 3)]
    assert worth.mixture == pytest.approx(sum(measured) / 2, abs=1e-3)
    with torch.no_grad():
        run.router.features.static[0].fill_(-40.0)
    useless = measure_worth(run, [(0, 0)], quiet=True)
    others = [value for name, value in useless.without.items() if name != run.experts[0].name]
    assert abs(useless.without[run.experts[0].name] - useless.mixture) < min(abs(o - useless.mixture) for o in others)


def test_without_rendering_images_come_from_pngs(rendered: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert moegs.main(["report", str(rendered), "--quiet", "--frames=0", f"--out={target}"]) == 0
    assert target.read_text().count("<img") == 2 * (5 + 3)
    assert not (rendered / "report.html").exists()
    shutil.rmtree(rendered / "test" / "itrs_20" / "gt")
    assert moegs.main(["report", str(rendered), "--quiet", "--frames=0", f"--out={target}"]) == 0
    assert "Nothing was rendered (--frames 0)." in text_of(target) and "<img" not in target.read_text()


def test_a_run_that_cannot_be_opened_has_a_page_all_the_same(
    rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(rendered.parent / "models" / "E-D3DGS")
    for name in ("gt", "renders"):
        shutil.rmtree(rendered / "test" / "itrs_20" / name)
    (rendered / "training.csv").unlink()
    assert moegs.main(["report", str(rendered)]) == 0
    assert "the run cannot be opened" in capsys.readouterr().err
    text = text_of(rendered / "report.html")
    assert "The run cannot be opened:" in text and "Scores" in text and "no training.csv" in text


def test_a_page_that_shows_more_is_kept(rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = rendered / "report.html"
    assert moegs.main(["report", str(rendered), "--quiet"]) == 0
    before = page.read_bytes()
    (rendered.parent / "models" / "E-D3DGS").rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert moegs.main(["report", str(rendered), "--quiet"]) == 2
    printed, said = capsys.readouterr()
    assert "Scores on the held-out camera: " in printed and "written" not in printed
    assert f"error: {page}: is kept, as a new page would show less. The run cannot be opened: " in said
    assert (
        "the E-D3DGS model is not there any more; say where with --expert E-D3DGS=PATH" in said and "--out FILE" in said
    )
    assert page.read_bytes() == before
    words = ["report", str(rendered), "--quiet", f"--out={tmp_path / 'less.html'}"]
    assert moegs.main(words) == 0 and moegs.main(words) == 0  # one that shows no more is replaced
    assert "<img" in (tmp_path / "less.html").read_text() and "cannot be opened" in text_of(tmp_path / "less.html")
    assert moegs.main(["report", str(rendered), "--quiet", f"--expert=E-D3DGS={tmp_path / 'elsewhere'}"]) == 0


def test_names_in_files_are_escaped(rendered: Path) -> None:
    path = rendered / "test" / "itrs_20" / "metrics.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {"scene": "<script>bad</script>", "device": "<img src=x>"}))
    settings = json.loads((rendered / "config.json").read_text())
    (rendered / "config.json").write_text(json.dumps(settings | {"rgbfunction": "</code><script>"}))
    assert moegs.main(["report", str(rendered), "--quiet", "--frames=0"]) == 0
    text = text_of(rendered / "report.html")
    assert "<script>bad</script>" in text and "<img src=x>" in text


def expert_folder(folder: Path, iterations: int = 40) -> Path:
    facts = {
        "expert": "STG",
        "scene": "<b>room</b>",
        "preset": "n3v",
        "gaussians": 1234,
        "gaussians_at_start": 1000,
        "start_points": "random",
        "training_seconds": 200.0,
        "scores": {"psnr": 31.25, "ssim": 0.9, "lpips": None},
        "scored_frames": 3,
        "history": [
            {"iteration": 20, "psnr": 25.0, "gaussians": 1100},
            {"iteration": 40, "psnr": 31.25, "gaussians": 1234},
        ],
        "settings": {"iterations": iterations, "batch": 2},
        "hashes": {"files": {"point_cloud.ply": "a" * 64}},
        "scene_notes": ["a note"],
    }
    folder.mkdir(parents=True)
    (folder / "train_expert.json").write_text(json.dumps(facts))
    return folder


def test_the_page_of_an_expert(tmp_path: Path) -> None:
    folder = expert_folder(tmp_path / "stg")
    results = folder / "test" / "itrs_40"
    results.mkdir(parents=True)
    frames = [{"camera": "cam00", "frame": frame, "scores": {"psnr": 31.0 + frame}} for frame in range(3)]
    (results / "metrics.json").write_text(json.dumps({"per_frame": frames, "protocol": {"name": "8bit"}}))
    assert moegs.main(["report", str(folder), "--quiet"]) == 0
    text = text_of(folder / "report.html")
    assert all(part in text for part in ("STG: <b>room</b>", "31.25", "1,234 Gaussians", "3 min", "a" * 64, "8bit"))
    assert (folder / "report.html").read_text().count("<polyline") == 3  # PSNR and Gaussians on the way, PSNR over time


def test_segments_are_on_one_page_and_a_folder_without_results_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0to149", "150to299", "old-1"):
        expert_folder(tmp_path / "stg" / name)
    assert moegs.main(["report", str(tmp_path / "stg"), "--quiet"]) == 0
    text = text_of(tmp_path / "stg" / "report.html")
    assert "Segment 0to149" in text and "Segment 150to299" in text and "old-1" not in text
    (tmp_path / "empty").mkdir()
    assert moegs.main(["report", str(tmp_path / "empty")]) == 2
    assert "render the run first" in capsys.readouterr().err
