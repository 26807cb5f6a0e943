"""E-D3DGS's embedding smoothness: the fused version against the plain one, which stands against sums written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from experts.ed3dgs.embedding_smoothness import Neighbourhood, neighbourhood, plain_smoothness
from experts.ed3dgs.embedding_smoothness_fused import fused_smoothness, pairs_of
from tests.plain_and_fused import assert_same


def direct(embeddings: torch.Tensor, means: torch.Tensor, falloff: float, count: int) -> torch.Tensor:
    distances = torch.cdist(means, means)
    total = embeddings.new_zeros(())
    for row in range(len(means)):
        order = [int(other) for other in distances[row].argsort() if other != row][:count]
        for other in order:
            strength = torch.exp(-falloff * distances[row, other] ** 2)
            squared = (embeddings[row] - embeddings[other]).square().sum()
            total = total + (strength * squared + 1e-20).sqrt()
    return total / (len(means) * count)


@pytest.fixture
def cloud():
    generator = torch.Generator().manual_seed(0)
    means = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    embeddings = torch.randn(40, 6, generator=generator, dtype=torch.float64).requires_grad_()
    return means, embeddings


def test_plain_smoothness_is_the_sum_written_out(cloud):
    means, embeddings = cloud
    own = plain_smoothness(embeddings, neighbourhood(means, falloff=3.0, count=8))
    torch.testing.assert_close(own, direct(embeddings, means, 3.0, 8), rtol=1e-12, atol=0)


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("points", [40, 9])
def test_fused_smoothness_is_the_plain_one_whole_or_in_parts(cloud, parts: int, points: int):
    """In double precision: 1e-16 seen."""
    means, embeddings = cloud
    near, few = neighbourhood(means[:points], falloff=3.0, count=8), embeddings.detach()[:points].requires_grad_()

    def fused():
        return torch.stack([fused_smoothness(few, pairs) for pairs in pairs_of(near, parts)]).mean()

    assert_same(lambda: plain_smoothness(few, near), fused, [few], atol=1e-14)
    for pairs in pairs_of(near, parts):
        assert_same(partial(plain_smoothness, few, pairs), partial(fused_smoothness, few, pairs), [few], atol=1e-14)


def test_equal_embeddings_are_at_rest(cloud):
    """At the start of training all are zero: sqrt has no slope there."""
    (pairs,) = pairs_of(neighbourhood(cloud[0].float(), falloff=3.0), 1)
    embeddings = torch.zeros(40, 32, requires_grad=True)
    fused_smoothness(embeddings, pairs).backward()
    assert torch.equal(embeddings.grad, torch.zeros(40, 32))
    embeddings.data[0] = 1e-22  # its square is 0 in float32
    embeddings.grad = None
    fused_smoothness(embeddings, pairs).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_tiny_models_have_as_many_neighbours_as_there_are():
    embeddings = torch.ones(2, 4, requires_grad=True)
    assert neighbourhood(torch.eye(3)[:2], falloff=1.0).indices.tolist() == [[1, 0]]
    alone = neighbourhood(torch.zeros(1, 3), falloff=1.0)
    fused_smoothness(embeddings[:1], *pairs_of(alone, alone.parts(5))).backward()
    assert torch.equal(embeddings.grad, torch.zeros(2, 4)) and alone.parts(5) == 1


@pytest.mark.parametrize(
    ("count", "pairs", "parts"), [(100, None, 1), (100, 2000, 1), (100, 1999, 2), (1000, 4999, 5), (9000, 4999, 20)]
)
def test_parts_divide_the_neighbours(count: int, pairs: int | None, parts: int):
    empty = torch.zeros(20, count)
    assert Neighbourhood(indices=empty.long(), strengths=empty).parts(pairs) == parts
