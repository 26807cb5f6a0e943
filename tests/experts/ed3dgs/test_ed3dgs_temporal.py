"""E-D3DGS's temporal embedding, against PyTorch's own resampling and finite differences."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from experts.ed3dgs.deformation_fused import layers_at_time
from experts.ed3dgs.temporal import plain_temporal_embeddings
from experts.ed3dgs.temporal_fused import fused_temporal_embeddings
from tests.experts.ed3dgs.test_ed3dgs import looked_up
from tests.plain_and_fused import assert_same

TIMES = pytest.mark.parametrize("time", [-1.7, -0.35, -0.001, 0.0, 0.013, 0.5, 0.993, 1.0, 1.002, 1.4, 2.6])
SIZES = pytest.mark.parametrize(("height", "rows"), [(150, 30), (150, 150), (25, 5), (7, 30), (2, 2)])


@TIMES
@SIZES
def test_temporal_embedding_is_interpolate_then_grid_sample(time: float, height: int, rows: int) -> None:
    table = torch.randn(height, 64, generator=torch.Generator().manual_seed(0))
    exact = table.double(), torch.tensor(time, dtype=torch.float64)
    theirs = torch.stack([looked_up(table, time, own_rows) for own_rows in (rows, 30)])
    for embeddings in (plain_temporal_embeddings, fused_temporal_embeddings):
        torch.testing.assert_close(embeddings(*exact, [rows, 30]), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("time", [-1.71, -0.353, -0.001, 0.013, 0.51, 0.991, 1.002, 1.41, 2.57])  # between rows
@SIZES
def test_fused_temporal_embedding_is_the_plain_one(time: float, height: int, rows: int) -> None:
    table = torch.randn(height, 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    place = torch.tensor(time).double().requires_grad_()
    plain, fused = (
        partial(function, table, place, [rows, 3])
        for function in (plain_temporal_embeddings, fused_temporal_embeddings)
    )
    assert_same(plain, fused, [table, place], atol=1e-12)


def test_temporal_embedding_at_table_rows_is_the_row() -> None:
    table = torch.randn(11, 8)
    for row in range(11):
        ours = fused_temporal_embeddings(table, torch.tensor(row / 10, dtype=torch.float64), [11])
        torch.testing.assert_close(ours[0], table[row], rtol=0, atol=1e-6)


def test_temporal_embedding_of_one_row() -> None:
    time = torch.tensor(0.7, dtype=torch.float64)
    assert torch.equal(fused_temporal_embeddings(torch.ones(1, 4), time, [3]), torch.ones(1, 4))
    assert torch.equal(fused_temporal_embeddings(torch.eye(4), time, [1]), torch.eye(4)[:1])


def test_derivatives_of_the_temporal_embedding_and_of_layers_at_a_time() -> None:
    torch.manual_seed(0)
    table, time = (torch.randn(7, 5).double(), torch.tensor(-1.37).double())
    layers = [tensor for _ in range(2) for tensor in (torch.randn(3, 9).double(), torch.randn(3).double())]
    inputs = [tensor.requires_grad_() for tensor in (table, time, *layers)]

    def joined(table: Tensor, time: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        temporal = fused_temporal_embeddings(table, time, [4, 7])
        return layers_at_time(list(zip(tensors[::2], tensors[1::2], strict=True)), temporal)

    assert torch.autograd.gradcheck(joined, inputs)


@pytest.mark.parametrize(("time", "rows"), [(0.0, (0, 1)), (0.5, (2, 3)), (1.0, (4, 3))])
def test_at_a_row_time_moves_towards_the_next(time: float, rows: tuple[int, int]) -> None:
    table, place = torch.randn(5, 1).double(), torch.tensor(time).double().requires_grad_()
    fused_temporal_embeddings(table, place, [5]).sum().backward()
    assert place.grad is not None
    torch.testing.assert_close(place.grad, 4 * (table[rows[1]] - table[rows[0]]).sum(), rtol=1e-12, atol=1e-12)
