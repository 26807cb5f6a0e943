from __future__ import annotations

from collections import Counter
from itertools import count, islice, pairwise

import torch

from experts.training.samplers import SameMoment, ShuffledPass
from experts.training.stretches import VISIT, StretchedSampler, Stretches, in_stretches

STRETCHES = Stretches(length=8, offset=4, frames=60, at_once=2)  # 8 chunks in groups of 2


def chunk_of(frame: int) -> int:
    return (frame + 4) // 8


def numbers(start: int):
    """Frame numbers in an endless order that tells where it was begun."""
    return ((number * 37 % 60, number) for number in count(start))


def test_a_block_holds_the_same_images_and_each_chunk_comes_once():
    drawn = list(islice(in_stretches(numbers, STRETCHES, lambda one: one[0], seed=3), 2 * STRETCHES.block))
    for block in (drawn[: STRETCHES.block], drawn[STRETCHES.block :]):
        seen = [chunk_of(frame) for frame, _ in block]
        spans = {chunk: (seen.index(chunk), len(seen) - seen[::-1].index(chunk)) for chunk in range(8)}
        in_use = [sum(first <= place < last for first, last in spans.values()) for place in range(len(seen))]
        assert max(in_use) == 2
        assert sum(1 for one, next in pairwise(seen) if one != next) > 500  # those of a group come by turns
    assert {number for _, number in drawn} == set(range(2 * STRETCHES.block))
    assert STRETCHES.block == 4 * VISIT
    assert [chunk_of(frame) for frame, _ in drawn[:400]] != [chunk_of(frame) for frame, _ in drawn[2000:2400]]


def test_an_order_goes_on_where_it_was():
    whole = list(islice(in_stretches(numbers, STRETCHES, lambda one: one[0], seed=1), 5000))
    for start in (0, 7, 1999, 2000, 4321):
        later = in_stretches(numbers, STRETCHES, lambda one: one[0], seed=1, start=start)
        assert list(islice(later, 200)) == whole[start : start + 200]
    assert list(islice(in_stretches(numbers, None, lambda one: one[0], seed=1, start=5), 3)) == list(
        islice(numbers(5), 3)
    )


def stretched(kind: type, generator: torch.Generator) -> StretchedSampler:
    return StretchedSampler(kind(views=3, frames=60, generator=generator, batch=2), STRETCHES, generator=generator)


def test_a_sampler_gives_its_own_images_and_goes_on_where_it_was():
    for kind in (ShuffledPass, SameMoment):
        plain_generator, generator = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
        plain, sampler = kind(views=3, frames=60, generator=plain_generator, batch=2), stretched(kind, generator)
        batches = [sampler.next(iteration) for iteration in range(1, 501)]
        assert {len(batch) for batch in batches} == {2}
        if kind is SameMoment:
            assert all(len({sample.frame for sample in batch}) == 1 for batch in batches)
        state, random = sampler.state(), generator.get_state()
        rest = [sampler.next(iteration) for iteration in range(501, 1001)]
        drawn = Counter(sample for batch in [*batches, *rest] for sample in batch)
        assert drawn == Counter(sample for step in range(1, 1001) for sample in plain.next(step))
        again = stretched(kind, torch.Generator())
        again.load(state)
        again._generator.set_state(random)
        assert [again.next(iteration) for iteration in range(501, 1001)] == rest
