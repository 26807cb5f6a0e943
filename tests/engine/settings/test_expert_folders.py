"""Experts' folders that are given one level too deep or too high."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.commands import train
from engine.settings.training.experts import AnyExpertsConfig, ExpertsConfig
from engine.settings.training.run import AnyRunConfig, RunConfig, expert_folders
from experts.base import CheckpointError
from router import ENSEMBLES, ensemble_of

TWO = ensemble_of(["Ex4DGS", "STG"])


@pytest.fixture
def ex(tmp_path: Path) -> Path:
    for number in (7000, 30000):
        (tmp_path / "ex" / "scene" / "point_cloud" / f"iteration_{number}").mkdir(parents=True)
    return tmp_path / "ex" / "scene"


@pytest.fixture
def stg(tmp_path: Path) -> Path:
    for name in ("scene_0to49", "scene_50to99"):
        (tmp_path / "stg" / "scene" / name / "point_cloud" / "iteration_5").mkdir(parents=True)
    return tmp_path / "stg" / "scene"


def folders(ex: Path, stg: Path, iteration: int = -1) -> list[Path]:
    experts = AnyExpertsConfig(expert=(f"Ex4DGS={ex}", f"STG={stg}"), load_iteration=iteration)
    return list(expert_folders(AnyRunConfig(experts=experts), TWO).values())


def test_the_models_folder_is_found_from_one_level_too_deep_or_too_high(ex, stg):
    clouds = ex / "point_cloud"
    assert folders(ex, stg) == folders(clouds, stg) == folders(clouds / "iteration_30000", stg.parent) == [ex, stg]
    assert folders(clouds / "iteration_7000", stg, iteration=7000) == folders(ex.parent, stg) == [ex, stg]


def test_a_chkpnt_counts_as_a_model_and_a_file_is_kept(ex, stg):
    (stg.parents[1] / "other" / "scene").mkdir(parents=True)
    chkpnt = stg.parents[1] / "other" / "scene" / "chkpnt5.pth"
    chkpnt.touch()
    assert folders(chkpnt, stg)[0] == chkpnt
    assert folders(chkpnt.parent.parent, stg)[0] == chkpnt.parent


def test_a_segments_folder_is_kept(ex, stg):
    assert folders(ex, stg / "scene_0to49")[1] == stg / "scene_0to49"
    assert folders(ex, stg / "scene_0to49" / "point_cloud")[1] == stg / "scene_0to49"


def test_another_iteration_than_the_given_one_is_not_read(ex, stg):
    given = ex / "point_cloud" / "iteration_7000"
    with pytest.raises(CheckpointError) as error:
        folders(given, stg)
    assert str(error.value) == f"{given}: one iteration of a model; give {ex} and --load_iteration 7000"


def test_several_models_below_are_named(ex, stg, capsys, tmp_path):
    (ex.parent / "scene_2" / "point_cloud").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds 2 models \(scene, scene_2\); give the folder of one of them"):
        folders(ex.parent, stg)
    arguments = [f"--source_path={tmp_path}", f"--save_path={tmp_path / 'out'}", f"--model_path={ex.parent}"]
    assert train.main("E3", [*arguments, f"--emb_path={ex}", f"--fgaussian_path={ex}"]) == 2
    assert "holds 2 models (scene, scene_2)" in capsys.readouterr().err


def test_a_folder_without_a_model_is_left_to_the_loader(tmp_path):
    (tmp_path / "images").mkdir()
    config = RunConfig(experts=ExpertsConfig(model_path=tmp_path, emb_path=tmp_path, fgaussian_path=tmp_path))
    assert set(expert_folders(config, ENSEMBLES["E3"]).values()) == {tmp_path}
