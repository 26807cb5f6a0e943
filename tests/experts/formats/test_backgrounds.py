"""The background of a model: its training's, as white_background in cfg_args says, and noted where it is unusual."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Gaussians

from experts import EXPERTS
from experts.base import CheckpointError, Expert, LoadOptions
from experts.formats.settings import CheckpointSettings

WHITE, BLACK = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
NAMES = ("Ex4DGS", "E-D3DGS", "STG", "4DGaussians")
OWN = {"Ex4DGS": WHITE, "E-D3DGS": WHITE, "STG": BLACK, "4DGaussians": WHITE}


def saved(name: str, folder: Path, text: str = "") -> Path:
    generator = torch.Generator().manual_seed(0)
    count = 6
    random = {"means": (3,), "scales": (3,), "quats": (4,), "opacities": ()}
    values = {key: torch.rand(count, *shape, generator=generator) * 0.5 + 0.2 for key, shape in random.items()}
    model = EXPERTS[name].random_model(Gaussians(**values, sh=torch.zeros(count, 16, 3)))
    EXPERTS[name].save(model, folder, 1)
    if text:
        stored = (folder / "cfg_args").read_text()
        (folder / "cfg_args").write_text(stored.replace("Namespace(", f"Namespace({text}, "))
    return folder


def loaded(name: str, folder: Path) -> Expert:
    return EXPERTS[name].load(folder, LoadOptions())


def notes(expert: Expert) -> list[str]:
    return [note for note in expert.provenance.notes if "background" in note]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "white_background=None", "own"])
def test_a_usual_background_is_not_remarked(tmp_path, name, text):
    text = f"white_background={OWN[name] == WHITE}" if text == "own" else text
    expert = loaded(name, saved(name, tmp_path, text))
    assert (expert.background, notes(expert)) == (OWN[name], [])


OTHER = {
    "E-D3DGS": "white_background=False",
    "STG": "white_background=True",
    "4DGaussians": "white_background=False",
    "Ex4DGS": "white_background=False, random_background=False",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_background_of_training_is_followed_noted_and_saved_again(tmp_path, name):
    expert = loaded(name, saved(name, tmp_path / "first", OTHER[name]))
    other, words = (WHITE, ("white", "black")) if OWN[name] == BLACK else (BLACK, ("black", "white"))
    assert expert.background == other
    assert notes(expert) == [
        f"background {words[0]} (its training's, from cfg_args), not the expert's usual {words[1]}"
    ]
    EXPERTS[name].save(expert, tmp_path / "second", 1)
    assert loaded(name, tmp_path / "second").background == other


@pytest.mark.parametrize("text", ["white_background=False", "white_background=False, random_background=True"])
def test_ex4dgs_trained_on_random_backgrounds_is_shown_on_white(tmp_path, text):
    expert = loaded("Ex4DGS", saved("Ex4DGS", tmp_path, text))
    assert (expert.background, notes(expert)) == (WHITE, [])


@pytest.mark.parametrize("scene", ["basketball", "kitchen_tiny"])
@pytest.mark.parametrize("name", NAMES)
def test_genuine_models_keep_the_background_of_their_own_renderer(shared, scene, name):
    expert = EXPERTS[name].load(shared("reference/experts") / name / scene, LoadOptions(scene=scene))
    assert (expert.background, notes(expert)) == (OWN[name], [])


@pytest.mark.parametrize(("variant", "background"), [("full", (0.0,) * 9), ("lite", WHITE)])
def test_original_stg_variants(shared, tmp_path, variant, background):
    source = shared("reference/experts/STG_original") / f"kitchen_tiny_{variant}_0to149"
    (tmp_path / "point_cloud").symlink_to(source / "point_cloud")
    text = (source / "cfg_args").read_text().replace("white_background=False", "white_background=True")
    (tmp_path / "cfg_args").write_text(text)
    expert = loaded("STG", tmp_path)
    assert expert.background == background and len(notes(expert)) == (variant == "lite")


@pytest.mark.parametrize("value", ["'yes'", "2", "[1, 1, 1]", "'False'"])
def test_a_background_that_is_neither_white_nor_black_is_refused(value, tmp_path):
    (tmp_path / "cfg_args").write_text(f"Namespace(white_background={value})")
    with pytest.raises(CheckpointError, match=r"cfg_args: white_background is .*, True or False expected; mend it"):
        CheckpointSettings(tmp_path).background(white=False)
    assert CheckpointSettings(tmp_path).background(white=True, obey=False) == WHITE
