"""A plan keeps its time on a machine where commands take other times than its trials said; the clock is made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import engine.budget.keeping
import engine.pipeline.queue
from engine.budget.choice import EXPERT_LEAST, TARGET, choose
from engine.budget.keeping import PlanKeeper, slack, with_overheads
from engine.budget.plan import Plan, Step
from engine.budget.wanted import Budget
from engine.budget.watching import WatchedTraining
from engine.pipeline.jobs import Job
from tests.engine.budget import made_up

TRIALS = Step(step="trials", told=30.0, taken=30.0, is_done=True)
TWO = (made_up.expert(), made_up.expert("Ex4DGS", "ex4dgs"))


class Machine:
    """Runs commands by a clock of its own: `overhead` and `slower` times as long as a plan told, `later` s later."""

    overhead, slower, later, megabytes = 1.0, 1.0, 0.0, 1.0

    def __init__(self) -> None:
        self.now = 0.0
        self.told: dict[str, Step] = {}
        self.ran: list[str] = []

    def start(self, job: Job, gpu: str | None) -> Command:
        self.ran.append(job.step)
        return Command(self, job)


class Command:
    """A command that a second passes for whenever it is asked for its end."""

    def __init__(self, machine: Machine, job: Job) -> None:
        step = machine.told[job.step]
        self.machine, self.job = machine, job
        self.training = machine.slower * step.each * int(str(job.words[2]))
        self.left = machine.overhead * step.fixed + machine.later + self.training

    def poll(self) -> int | None:
        self.left -= 1
        self.machine.now += 1
        if self.left > 0:
            return None
        result = self.job.results[0]
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps({"megabytes": self.machine.megabytes}))
        if self.training:
            (result.parent / "training.csv").write_text(f"iteration,seconds\n1,{self.training}\n")
        return 0

    def interrupt(self) -> None:
        raise AssertionError("nothing is begun anew")


def jobs_of(folder: Path, plan: Plan) -> dict[str, Job]:
    jobs = {}
    for step in plan.steps:
        own = folder / step.step
        flag = {"train": "--save_path", "prune": "--out"}.get(step.step, "--model_path")
        words = ("moegs.py", "--iterations", step.iterations, flag, own)
        jobs[step.step] = Job(
            scene="film", step=step.step, words=words, folder=folder, results=(own / "train_expert.json",)
        )
    return jobs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", made.start)
    monkeypatch.setattr(engine.pipeline.queue, "PAUSE", 0.0)
    monkeypatch.setattr(engine.budget.keeping, "perf_counter", lambda: made.now)
    return made


def kept(machine: Machine, folder: Path, budget: Budget, text: str) -> Plan:
    assert budget.seconds is not None
    left = replace(budget, seconds=TARGET * budget.seconds - 30.0)
    chosen = choose(TWO, made_up.mixture(), made_up.SCENE, left)
    assert chosen is not None
    steps = (TRIALS, *chosen.steps)
    machine.told = {step.step: step for step in steps}
    plan = Plan(budget=text, data_args="", experts=("FreeTime", "Ex4DGS"), steps=steps, run_bytes=chosen.run_bytes)
    keeper = PlanKeeper(plan, folder, lambda plan: jobs_of(folder, plan), ())
    assert keeper.run() is None
    return keeper.plan


@pytest.mark.parametrize(
    ("overhead", "slower", "later"),
    [(1.0, 1.0, 0.0), (2.0, 1.0, 0.0), (1.0, 1.5, 0.0), (1.5, 1.3, 0.0), (0.7, 0.8, 0.0), (1.0, 1.0, 15.0)],
)
def test_a_plan_ends_within_a_tenth_of_its_time(
    tmp_path: Path, machine: Machine, overhead: float, slower: float, later: float
) -> None:
    machine.overhead, machine.slower, machine.later = overhead, slower, later
    plan = kept(machine, tmp_path, Budget(seconds=400.0), "400s")
    assert plan.seconds_taken == pytest.approx(400.0, rel=0.1)
    assert plan.seconds_taken == pytest.approx(30.0 + machine.now), "all seconds count"


def test_no_expert_is_left_with_next_to_no_training(tmp_path: Path, machine: Machine) -> None:
    machine.later = 60.0  # of each command: too much for the budget
    plan = kept(machine, tmp_path, Budget(seconds=400.0), "400s")
    lengths = {step.step: step.iterations for step in plan.steps if step.expert}
    least = {f"expert_{trial.key}": round(EXPERT_LEAST * trial.fast) for trial in TWO}
    assert all(lengths[step] >= least[step] >= 100 for step in least)


@pytest.mark.parametrize(("megabytes", "prunes"), [(1.0, False), (2.4, True)])
def test_a_run_is_pruned_where_it_came_out_too_large_alone(
    tmp_path: Path, machine: Machine, megabytes: float, prunes: bool
) -> None:
    machine.megabytes = megabytes
    plan = kept(machine, tmp_path, Budget(seconds=400.0, run_bytes=5e6), "400s,5MB")
    assert ("prune" in machine.ran) == prunes == (plan.run_bytes is not None)


def test_overheads_of_steps_to_come_follow_those_that_were_taken() -> None:
    ended = Step(step="expert_freetime", fixed=10.0, taken=35.0, is_done=True)
    train, render = Step(step="train", fixed=4.0), Step(step="render", fixed=20.0)
    plan = Plan(budget="400s", data_args="", experts=("FreeTime",), steps=(ended, train, render))
    as_many_times, as_many_seconds = replace(train, fixed=6.0), replace(render, fixed=25.0)
    assert with_overheads(plan, ended, 20.0).steps == (ended, as_many_times, as_many_seconds)
    for trained in (25.0, 30.0, None):  # as told, less, not known
        assert with_overheads(plan, ended, trained) == plan


@pytest.mark.parametrize(
    ("told", "lost", "room", "begins_anew"),
    [
        (0.1, 40.0, 50.0, True),  # 0.2 s an iteration: 100 s late
        (0.1, 40.0, 120.0, False),  # the steps after it make up for that
        (0.1, 80.0, 50.0, False),  # nearly all of the training's time would be lost
        (0.3, 40.0, 0.0, True),  # 100 s early
        (0.3, 60.0, 0.0, False),  # a new beginning would lose more than half of that
    ],
)
def test_a_training_is_begun_anew_only_where_that_is_better_than_going_on(
    tmp_path: Path, told: float, lost: float, room: float, begins_anew: bool
) -> None:
    (tmp_path / "training.csv").write_text("iteration,seconds\n50,10\n100,20\n150,30\n")
    asked = []

    class Endless:
        def poll(self) -> int | None:
            return None

        def interrupt(self) -> None:
            asked.append(True)

    WatchedTraining(
        Endless(),
        tmp_path,
        iterations=1000,
        early=told,
        slack=room,
        lost=lambda: lost,
        again=lambda factor: Endless(),
    ).poll()
    assert bool(asked) == begins_anew


def test_later_steps_and_the_end_give_a_training_room() -> None:
    begun = Step(step="expert_freetime", iterations=1000, each=0.1, taken=5.0)
    router = Step(step="train", iterations=1000, shortest=200, each=0.05)
    plan = Plan(budget="400s", data_args="", experts=("FreeTime",), steps=(begun, router, Step(step="render")))
    assert slack(plan) == 0.05 * 400 + 0.5 * 800 * 0.05
