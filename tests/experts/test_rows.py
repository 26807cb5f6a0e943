"""Gaussians are removed from every expert, and files of what is left hold it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.trained_scenes import trained_like_scene
from experts import EXPERTS, SPLATTED, LoadOptions, load_expert
from experts.rows import HasRowModules, all_but_lowest, block_sizes, bytes_a_row, keep_rows


def some(count: int) -> torch.Tensor:
    kept = torch.arange(count) % 3 != 1
    kept[0] = kept[-1] = True
    return kept


@pytest.mark.parametrize("name", list(SPLATTED))
def test_the_rows_that_stay_look_as_before_also_from_files(name: str, tmp_path: Path) -> None:
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    expert = EXPERTS[name].random_model(gaussians).requires_grad_(False)
    assert isinstance(expert, HasRowModules) and sum(block_sizes(expert)) == expert.num_gaussians
    kept, rows, before = some(expert.num_gaussians), expert.rows(0), expert.at(0)
    keep_rows(expert, kept)
    assert expert.num_gaussians == int(kept.sum()) == sum(block_sizes(expert))
    after = expert.at(0)
    EXPERTS[name].save(expert, tmp_path / name, 5)
    loaded = load_expert(name, tmp_path / name, LoadOptions())
    for field in ("means", "scales", "opacities"):
        wanted = getattr(before, field)[kept[rows]]
        torch.testing.assert_close(getattr(after, field), wanted)
        torch.testing.assert_close(getattr(loaded.at(0), field), wanted)


def test_bytes_of_a_row_are_those_of_its_tensors() -> None:
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    floats = 3 + 3 + 4 + 1 + 48
    expert = EXPERTS["E-D3DGS"].random_model(gaussians)
    assert isinstance(expert, HasRowModules)
    assert bytes_a_row(expert) == [4 * (floats + 32)]


def test_the_lowest_go_and_each_block_keeps_its_best() -> None:
    scores = torch.tensor([5.0, 4.0, 0.0, 1.0, 3.0, 2.0])
    assert all_but_lowest(scores, 0.5, [6]).tolist() == [True, True, False, False, True, False]
    assert all_but_lowest(scores, 0.5, [2, 2, 2]).tolist() == [True, True, False, True, True, False]
    assert all_but_lowest(torch.zeros(4), 0.5, [4]).tolist() == [True, True, False, False], "of equals the earlier stay"
    assert all_but_lowest(scores, 0.0, [6]).all()
