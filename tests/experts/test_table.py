"""The table of experts names what is wrong with a row, before a model is trained or saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import experts
from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, CheckpointError, LoadOptions, begin_training, load_expert
from experts.spec import ExpertSpec
from experts.table import expert_table
from experts.training.start import TrainingStart
from tests.experts.training.small_views import small_start, small_views

NEW = replace(EXPERTS["4DGaussians"], name="New", key="new", flag="new_path", signature=("new_0",))


def test_a_row_with_names_and_columns_of_its_own_is_taken() -> None:
    assert list(expert_table(*EXPERTS.values(), NEW)) == [*EXPERTS, "New"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "STG"}, r"STG \(key stg\) and STG \(key new\) have the same name, 'STG'; change one of the two"),
        ({"key": "stg"}, r"STG \(key stg\) and New \(key stg\) have the same key, 'stg'"),
        ({"flag": "stg_path"}, r"STG .* and New .* have the same flag, 'stg_path'"),
        ({"name": "Stg"}, r"STG .* and Stg .* share the name or key 'stg', by which --expert knows them"),
        ({"signature": ("new_0", "trbf_center")}, r"STG .* and New .* the same column .*, 'trbf_center'"),
        ({"signature": ("opacity",)}, r"4DGaussians .* and New .* columns of 3DGS alone .*, 'f_dc_0' and 'opacity'"),
        ({"signature": ("new_0", "x")}, r"New: signature holds 3DGS's own column 'x'; name the columns that only"),
        ({"signature": ()}, "New: signature is empty"),
        ({"pictures": True}, "New: has pictures: give checkpoints, and no signature"),
        ({"save": EXPERTS["Videos"].save}, "New: save, write_routed or random_model is missing; an expert of Gauss"),
        ({"key": "my-New"}, "New: key 'my-New': train-expert reads keys without capitals and dashes"),
        ({"flag": "--new_path"}, "New: flag '--new_path': letters, digits and _ alone"),
        ({"alias": "-m"}, r"Ex4DGS .* and New .* have the same alias, '-m'"),
    ],
)
def test_a_row_that_cannot_be_told_apart_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^EXPERTS: {message}"):
        expert_table(*EXPERTS.values(), replace(NEW, **change))


def begin(spec: ExpertSpec) -> None:
    preset = spec.training.presets["n3v"]
    start = TrainingStart(points=small_start(), views=small_views(), extent=1.0, network=preset.network)
    begin_training(spec, preset.recipe, start)


def test_the_model_and_the_trainer_have_the_name_of_their_row() -> None:
    spec = EXPERTS["4DGaussians"]
    begin(spec)
    with pytest.raises(ValueError, match="start_model is named '4DGaussians', its row of EXPERTS 'New'; give both the"):
        begin(NEW)

    def trainer(*arguments: object, **more: object) -> object:
        return SimpleNamespace()

    unnamed = replace(spec, training=replace(spec.training, trainer=trainer))
    with pytest.raises(ValueError, match="the trainer has no name, its row of EXPERTS '4DGaussians'"):
        begin(unnamed)


def test_a_loaded_model_has_the_name_of_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, spec = tmp_path / "model", EXPERTS["4DGaussians"]
    spec.save(spec.random_model(trained_like_scene(count=5, width=8, height=8, seed=1)[0]), folder, 1)
    assert load_expert("4DGaussians", folder, LoadOptions()).name == "4DGaussians"
    row = replace(NEW, signature=("f_dc_0",))
    monkeypatch.setattr(experts, "EXPERTS", {"New": row})
    with pytest.raises(CheckpointError, match="model: the model that `load` returned is named '4DGaussians', its row"):
        load_expert("New", folder, LoadOptions())
