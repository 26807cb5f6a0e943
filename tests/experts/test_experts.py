"""The table of experts: names, flags, and loading by name."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from experts import EXPERTS, CheckpointError, Expert, LoadOptions, load_expert
from router import ENSEMBLES


def test_names_and_flags_are_those_of_the_ensembles() -> None:
    rows = {row for ensemble in ENSEMBLES.values() for row in ensemble.experts}
    assert rows == {(spec.name, spec.flag) for spec in EXPERTS.values()}
    assert all(name == spec.name and spec.paper and spec.licence for name, spec in EXPERTS.items())


@pytest.mark.parametrize("name", list(EXPERTS))
def test_every_expert_loads_saves_and_has_no_routing_weights(shared, tmp_path: Path, name: str) -> None:
    folder = shared("reference/experts") / name / "kitchen_tiny"
    expert = load_expert(name, folder, LoadOptions(scene="kitchen_tiny", num_frames=300, near=1.13))
    assert isinstance(expert, Expert) and expert.name == name
    assert len(expert.background) == expert.at(200).colour_channels
    assert expert.at(200).count == len(range(*expert.rows(200).indices(expert.num_gaussians)))
    assert all(file.is_file() for file in expert.provenance.files) and expert.provenance.notes
    assert EXPERTS[name].read_routing(folder, None) is None
    EXPERTS[name].save(expert, tmp_path / "kitchen_tiny", 7)
    again = load_expert(name, tmp_path / "kitchen_tiny", LoadOptions(scene="kitchen_tiny", num_frames=300))
    assert again.provenance.iteration == 7 and again.num_gaussians == expert.num_gaussians


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no expert is called 'Ex4DG'; nearest: Ex4DGS"):
        load_expert("Ex4DG", tmp_path, LoadOptions())
    with pytest.raises(CheckpointError, match="known: Ex4DGS, E-D3DGS, STG, 4DGaussians"):
        load_expert("zzz", tmp_path, LoadOptions())


@pytest.mark.parametrize(("name", "other"), list(itertools.permutations(EXPERTS, 2)))
def test_a_folder_at_the_wrong_flag_is_recognised(shared, name: str, other: str) -> None:
    folder = shared("reference/experts") / other / "basketball"
    with pytest.raises(CheckpointError) as caught:
        load_expert(name, folder, LoadOptions(scene="basketball"))
    message = str(caught.value)
    assert f"looks like {other}" in message and f"{name} expected" in message and f"--{EXPERTS[other].flag}" in message
