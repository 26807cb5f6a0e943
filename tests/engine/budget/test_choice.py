"""Plans from trials with round numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.budget.choice import (
    DENSE_SHARE,
    DENSITIES,
    LEAST_SHARE,
    PRUNED_SHARE,
    ROUTER_FAST,
    ROUTING_BYTES,
    choose,
    mean_gaussians,
    rescaled,
)
from engine.budget.measured import Line, line_through
from engine.budget.plan import Step
from engine.budget.trials.experts import tried_gaussians
from engine.budget.wanted import Budget
from engine.errors import ConfigError
from engine.runs.cost import expert_bytes
from experts import EXPERTS
from tests.engine.budget.made_up import SCENE, expert, mixture, on_cpu

TWO = (expert(), expert("Ex4DGS", "ex4dgs"))


def seconds(chosen) -> float:
    return sum(step.told for step in chosen.steps)


def test_a_line_goes_through_two_trials_and_never_falls() -> None:
    line = line_through((100, 3.0), (300, 7.0))
    assert line == Line(base=1.0, each=0.02) and line.at(500) == 11.0 and line.where(11.0) == pytest.approx(500)
    assert line_through((300, 3.0), (100, 7.0)) == Line(base=7.0, each=0.0)
    assert line_through((100, 3.0), (100, 5.0)) == Line(base=5.0, each=0.0)
    assert line_through((100, 1.0), (200, 10.0)).base == 0.0  # not below nothing
    assert Line(base=5, each=1).where(4) == 0 and Line(base=5, each=0).where(6) == float("inf")


def test_the_time_of_all_steps_is_that_of_the_budget() -> None:
    for budget in (75, 200, 400):
        chosen = choose(TWO, mixture(), SCENE, Budget(seconds=budget))
        assert chosen is not None and 0.98 * budget < seconds(chosen) <= budget
        assert [step.step for step in chosen.steps] == ["expert_freetime", "expert_ex4dgs", "train", "render"]
        router = chosen.steps[2]
        assert router.iterations == pytest.approx(ROUTER_FAST * chosen.share, abs=1)


def test_more_time_means_longer_trainings_up_to_the_published_lengths() -> None:
    lengths = []
    for budget in (100, 300, 450, 10_000):
        chosen = choose([expert()], None, SCENE, Budget(seconds=budget))
        assert chosen is not None
        lengths.append(chosen.steps[0].iterations)
    assert lengths == sorted(set(lengths)) and lengths[-1] == 30_000
    assert choose([expert()], None, SCENE, Budget()).steps[0].iterations == 30_000


def test_little_time_means_fewer_gaussians_before_trainings_get_short() -> None:
    plenty, little = (choose([expert()], None, SCENE, Budget(seconds=budget)) for budget in (1000, 100))
    assert plenty.steps[0].gaussians == DENSITIES[0] * 100_000 and plenty.share > DENSE_SHARE
    assert little.steps[0].gaussians == DENSITIES[-1] * 100_000 and little.share < DENSE_SHARE


def test_too_little_time_is_no_plan() -> None:
    assert choose([expert()], None, SCENE, Budget(seconds=15)) is None
    assert choose([expert()], None, SCENE, Budget(seconds=-3)) is None
    least = choose([expert()], None, SCENE, Budget(seconds=17.5))
    assert least is not None and least.share >= LEAST_SHARE


def test_memory_limits_the_gaussians() -> None:
    chosen = choose([expert()], None, SCENE, Budget(gpu_bytes=1.6e9))
    step = chosen.steps[0]
    assert step.gaussians == 30_000 and step.gpu_bytes == pytest.approx(1.6e9)
    assert choose([expert()], None, SCENE, Budget(gpu_bytes=0.9e9)) is None
    assert choose(TWO, mixture(), SCENE, Budget(gpu_bytes=1.45e9)) is None  # the router needs more
    assert choose([on_cpu(expert())], None, SCENE, Budget()).steps[0].gpu_bytes is None


def test_there_are_no_more_gaussians_than_usual() -> None:
    usual = replace(expert(), usual=20_000)
    assert choose([usual], None, SCENE, Budget()).steps[0].gaussians == 20_000
    stg = EXPERTS["STG"]
    assert tried_gaussians(stg, 10_000_000, None) == stg.training.usual_gaussians
    assert tried_gaussians(stg, 100_000, None) == 65_000
    room = expert_bytes(stg, pixels=100_000, gaussians=30_000)
    assert tried_gaussians(stg, 100_000, float(room)) == 30_000
    with pytest.raises(ConfigError, match="of GPU memory are too few"):
        tried_gaussians(stg, 100_000, 1e8)


def test_a_mixture_may_be_larger_than_its_size_by_what_pruning_removes() -> None:
    chosen = choose(TWO, mixture(), SCENE, Budget(run_bytes=5e6))
    assert chosen.run_bytes == 5e6 and "prune" in [step.step for step in chosen.steps]
    gaussians = sum(step.gaussians for step in chosen.steps)
    fixed = 2e6 + mixture().head_bytes
    whole = fixed + gaussians * (100 + ROUTING_BYTES)
    assert whole > 5e6 >= fixed + (1 - PRUNED_SHARE) * gaussians * (100 + ROUTING_BYTES) - 1000
    near = choose(TWO, mixture(), SCENE, Budget(run_bytes=20e6))
    assert near.run_bytes == 20e6 > sum(step.run_bytes or 0 for step in near.steps)  # Gaussians may get larger
    small = choose(TWO, mixture(), SCENE, Budget(run_bytes=100e6))
    assert small.run_bytes is None and "prune" not in [step.step for step in small.steps]


def test_a_single_expert_is_trained_to_its_size_as_it_is_not_pruned() -> None:
    step = choose([expert()], None, SCENE, Budget(run_bytes=3e6)).steps[0]
    assert step.gaussians == 20_000 and step.run_bytes == pytest.approx(3e6)
    assert choose([expert()], None, SCENE, Budget(run_bytes=1.1e6)) is None


def test_every_segment_counts() -> None:
    one, two = (choose([replace(expert(), models=n)], None, SCENE, Budget(run_bytes=4e6)).steps[0] for n in (1, 2))
    assert (one.gaussians, two.gaussians) == (30_000, 10_000)
    assert two.each == pytest.approx(2 * expert().iteration.at(mean_gaussians(expert(), 10_000)))


def test_gaussians_grow_to_the_end_of_densification() -> None:
    assert mean_gaussians(expert(), 50_000) == 0.5 * 30_000 + 0.5 * 50_000
    assert mean_gaussians(replace(expert(), grows_until=0.0), 50_000) == 50_000
    assert mean_gaussians(expert(), 5000) == 5000


def test_steps_that_were_not_begun_take_the_time_that_is_left() -> None:
    begun = Step(step="expert_freetime", iterations=1000, longest=5000, fixed=1, each=0.1, taken=30.0)
    done = replace(begun, step="expert_stg", is_done=True)
    other = Step(step="expert_ex4dgs", iterations=1000, longest=1500, fixed=10, each=0.1)
    render = Step(step="render", fixed=20)
    steps = (done, begun, other, render)
    fewer = rescaled(steps, 71 + 60 + 20)
    assert fewer[:2] == steps[:2] and fewer[3] == render and fewer[2].iterations == 500
    assert rescaled(steps, 71 + 85 + 20)[2].iterations == 750
    assert rescaled(steps, 1e6)[2].iterations == 1500  # more is of no use
    assert rescaled(steps, 0)[2].iterations == 1
    router = replace(other, step="train", shortest=200)
    assert rescaled((other, router), 0)[1].iterations == 200
    assert rescaled((replace(router, iterations=50),), 0)[0].iterations == 50
