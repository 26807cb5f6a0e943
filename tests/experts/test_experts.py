"""The table of experts: names, flags, and loading by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, SPLATTED, TRAINABLE, CheckpointError, Expert, LoadOptions, load_expert
from experts.ex4dgs.columns import STATIC
from experts.formats.ply import write_ply
from experts.table import expert_table
from router import ENSEMBLES, ensembles_with, folder_flags

PUBLISHED = ("Ex4DGS", "E-D3DGS", "STG", "4DGaussians")  # those with reference data


def test_rows_are_told_apart_by_name_key_flag_and_signature() -> None:
    assert expert_table(*EXPERTS.values()) == EXPERTS
    assert all(name == row.name == row.training.trainer.name for name, row in TRAINABLE.items())
    assert EXPERTS.keys() - TRAINABLE.keys() == {"Splats", "Videos"}
    assert EXPERTS.keys() - SPLATTED.keys() == {"Videos"}
    assert EXPERTS.keys() >= set(PUBLISHED)


def test_ensembles_are_of_known_experts() -> None:
    """An expert may be in no ensemble: --expert blends it all the same."""
    for name, ensemble in ENSEMBLES.items():
        flags = folder_flags(ensemble)
        assert flags == {expert: EXPERTS[expert].flag for expert in ensemble.experts}
        assert all(name in ensembles_with(expert) for expert in ensemble.experts)
        assert not any(name in ensembles_with(other) for other in EXPERTS if other not in ensemble.experts)
    assert folder_flags(ENSEMBLES["E3_tech"]) == {"Ex4DGS": "model_path", "E-D3DGS": "emb_path", "STG": "stg_path"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_experts_load_save_and_carry_a_routers_weights(shared, tmp_path: Path, name: str) -> None:
    folder, spec = shared("reference/experts") / name / "kitchen_tiny", EXPERTS[name]
    expert = load_expert(name, folder, LoadOptions(scene="kitchen_tiny", num_frames=300, near=1.13))
    assert isinstance(expert, Expert) and expert.name == name
    assert len(expert.background) == expert.at(200).colour_channels
    assert expert.at(200).count == len(range(*expert.rows(200).indices(expert.num_gaussians)))
    assert all(file.is_file() for file in expert.provenance.files) and expert.provenance.notes
    assert spec.read_routed(folder, None) is None
    spec.save(expert, tmp_path / "kitchen_tiny", 7)
    weights = torch.randn(expert.num_gaussians, 3)
    spec.write_routed(expert, tmp_path / "routed" / "kitchen_tiny", 7, weights)
    assert torch.equal(spec.read_routed(tmp_path / "routed" / "kitchen_tiny", 7), weights)
    for parent in (tmp_path, tmp_path / "routed"):
        again = load_expert(name, parent / "kitchen_tiny", LoadOptions(scene="kitchen_tiny", num_frames=300))
        assert again.provenance.iteration == 7 and again.num_gaussians == expert.num_gaussians
        assert torch.equal(again.at(200).means, expert.at(200).means)


@pytest.mark.parametrize("name", list(SPLATTED))
def test_random_models_are_experts_around_the_given_gaussians(name: str) -> None:
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    expert = EXPERTS[name].random_model(gaussians)
    assert isinstance(expert, Expert) and expert.name == name and expert.num_gaussians == 40
    with torch.no_grad():
        assert expert.at(150).count == 40


@pytest.mark.parametrize("name", list(SPLATTED))
def test_a_random_model_is_saved_loaded_and_carries_a_routers_weights(tmp_path: Path, name: str) -> None:
    spec, (gaussians, _) = EXPERTS[name], trained_like_scene(count=40, width=32, height=24, seed=1)
    torch.manual_seed(2)
    expert, weights = spec.random_model(gaussians), torch.randn(40, 3)
    spec.save(expert, tmp_path / "plain", 7)
    spec.write_routed(expert, tmp_path / "routed", 7, weights)
    assert spec.read_routed(tmp_path / "plain", 7) is None
    assert torch.equal(spec.read_routed(tmp_path / "routed", None), weights)
    for folder in ("plain", "routed"):
        again = load_expert(name, tmp_path / folder, LoadOptions(num_frames=300))
        assert again.name == name and again.provenance.iteration == 7 and again.num_gaussians == 40
        assert all(file.is_file() for file in again.provenance.files)
        for field in fields(expert.at(150)):
            saved, loaded = (getattr(one.at(150), field.name) for one in (expert, again))
            assert loaded is None if saved is None else torch.equal(loaded, saved), field.name


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no expert is called 'Ex4DG'; did you mean Ex4DGS\?"):
        load_expert("Ex4DG", tmp_path, LoadOptions())
    with pytest.raises(CheckpointError, match="known: Ex4DGS, E-D3DGS, STG, 4DGaussians"):
        load_expert("zzz", tmp_path, LoadOptions())


@pytest.mark.parametrize(("name", "other"), [(name, other) for name in EXPERTS for other in PUBLISHED if other != name])
def test_a_folder_at_the_wrong_flag_is_recognised(shared, name: str, other: str) -> None:
    folder = shared("reference/experts") / other / "basketball"
    with pytest.raises(CheckpointError) as caught:
        load_expert(name, folder, LoadOptions(scene="basketball"))
    message = str(caught.value)
    assert f"looks like {other}" in message and f"{name} expected" in message and f"--{EXPERTS[other].flag}" in message


def write_table(folder: Path, names: tuple[str, ...]) -> None:
    write_ply(folder / "point_cloud" / "iteration_3" / "point_cloud.ply", names, np.zeros((2, len(names)), np.float32))


def refused(name: str, folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_expert(name, folder, LoadOptions())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_segment_of_another_expert_is_recognised(tmp_path: Path) -> None:
    for name in ("a_0to9", "a_10to14"):
        write_table(tmp_path / "a" / name, STATIC)
    assert "a_0to9/point_cloud/iteration_3/point_cloud.ply: looks like Ex4DGS, STG expected" in refused(
        "STG", tmp_path / "a"
    )
    assert (
        f"{tmp_path / 'a'}: looks like STG (a folder of segments), Ex4DGS expected; give it to --stg_path"
        in refused("Ex4DGS", tmp_path / "a")
    )


def test_a_table_of_no_expert_is_recognised(tmp_path: Path) -> None:
    write_table(tmp_path, ("x", "y", "z", "intensity"))
    assert "no expert's Gaussians (columns x, y, z, intensity, ...), STG expected; check the path" in refused(
        "STG", tmp_path
    )
