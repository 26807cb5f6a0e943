"""The tables of keys in docs/reference/file_formats.md have the keys of files that commands write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from benchmarks.trained_scenes import trained_like_scene
from engine.commands import train
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.rivals.baselines import CONSTANT
from engine.outputs.streams import streams_of
from engine.runs.saved.router_tensors import named_tensors
from engine.settings.rendering.render_maps import MAPS
from experts import EXPERTS, SPLATTED
from experts.formats.cfg_args import read_cfg_args
from tests.engine.expert_scene import run, write_film
from tests.small_world import ENSEMBLE, small_run, use_small_world

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "file_formats.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"^(#+) (.+)\n((?:.*\n)*?)(?=^#|\Z)", re.MULTILINE)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FACTS = {
    "source_path",
    "model_path",
    "resolution",
    "loader",
    "start_timestamp",
    "clip_frames",
    "frame_rate",
    "iterations",
    "preset",
}  # of every cfg_args


def section(page: str, heading: str) -> str:
    """Text below a heading, up to the next one."""
    return next(match[3] for match in _SECTION.finditer(page) if match[2] == heading)


def keys_in(text: str) -> set[str]:
    """Code in the first column of a section's tables."""
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {key for cell in rows for key in _CODE.findall(cell)}


def read(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("footage"))


@pytest.fixture(scope="module")
def model(film: Path) -> Path:
    """The folder of an expert that was trained for a moment."""
    folder = film.parent / "model"
    assert run(film, folder, "4dgaussians", "--iterations=2") == 0
    return folder


@pytest.fixture
def save_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that was trained for a moment."""
    folder = tmp_path / "out"
    arguments = [*use_small_world(monkeypatch, tmp_path), f"--save_path={folder}", "--backend=torch", "--iterations=1"]
    assert train.main(ENSEMBLE.name, arguments) == 0
    return folder


def test_keys_of_a_run_are_those_of_the_page(save_path: Path):
    assert keys_in(section(PAGE, "Keys of router.json")) == set(read(save_path / "router/iteration_1/router.json"))
    results = save_path / "test" / "itrs_1"
    assert keys_in(section(PAGE, "Keys of metrics.json")) == set(read(results / "metrics.json"))
    assert keys_in(section(PAGE, "Keys of mean_metrics.json")) == set(read(results / "mean_metrics.json"))


def test_methods_of_a_rendering_are_those_of_the_page(tmp_path: Path):
    small = small_run(tmp_path)
    options = EvaluationOptions(progress=False, videos=False, networks=False)
    evaluation = evaluate_mixture(small, views=small.scene.test, folder=tmp_path / "out", options=options)
    others = set(evaluation.means) - {expert.name for expert in small.experts}
    assert CONSTANT in others
    assert all(f"`{method}`" in section(PAGE, "Keys of metrics.json") for method in others)


def test_videos_and_folders_of_a_rendering_are_on_the_page():
    text = section(PAGE, "Run")
    for stream in streams_of(["<Expert>"], MAPS):
        assert f"{stream.video}.mp4" in text
        assert f"{stream.folder}/" in text


def test_tensors_of_a_router_are_those_of_the_page(save_path: Path, tmp_path: Path):
    text = section(PAGE, "Tensors of a router")
    tensors = load_file(save_path / "router" / "iteration_1" / "router.safetensors")
    assert set(tensors) == set(named_tensors(small_run(tmp_path).router))
    for name, tensor in tensors.items():
        if name.startswith("head."):
            assert f"`{name}` {list(tensor.shape)}" in text
        else:
            assert f"`<Expert>.{name.rpartition('.')[2]}` [n, {tensor.shape[1]}]" in text


def test_keys_of_an_expert_are_those_of_the_page(model: Path, film: Path):
    metrics = read(model / "test" / "itrs_2" / "metrics.json")
    assert keys_in(section(PAGE, "Keys of an expert's metrics.json")) == set(metrics)
    assert keys_in(section(PAGE, "Keys of train_expert.json")) == set(read(model / "train_expert.json"))
    record = film.parent / "cache" / "40x32_bilinear" / "cam00_0-5.json"
    assert keys_in(section(PAGE, "Keys of a cache record")) == set(read(record))


@pytest.mark.parametrize("expert", SPLATTED)
def test_names_in_cfg_args_are_on_the_page(expert: str, tmp_path: Path):
    folder = ROOT / "demo" / "experts" / expert
    if not folder.is_dir():
        folder, (gaussians, _) = tmp_path, trained_like_scene(count=5, width=8, height=8, seed=1)
        EXPERTS[expert].save(EXPERTS[expert].random_model(gaussians), folder, 1)
    written = set(read_cfg_args(folder) or {})
    assert written
    assert written - FACTS <= set(_CODE.findall(section(PAGE, expert)))
    assert {name for name in FACTS if f"`{name}`" not in section(PAGE, "Expert")} == set()


@pytest.mark.parametrize(
    ("page", "keys"),
    [
        ("# A\n| key | meaning |\n| --- | --- |\n| `one`, `two` | `three` |\n\n# B\n| `four` | |\n", {"one", "two"}),
        ("# A\ntext `one`\n", set()),
    ],
)
def test_keys_are_read_from_the_first_column_of_one_section(page: str, keys: Iterable[str]):
    assert keys_in(section(page, "A")) == keys
