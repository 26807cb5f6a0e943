"""A training whose iterations take another time than trials said is begun anew, of a length that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import engine.pipeline.queue
from engine.budget.choice import choose
from engine.budget.keeping import PlanKeeper, reopened, within_size
from engine.budget.plan import Plan, Step, read_plan
from engine.budget.wanted import Budget
from engine.budget.watching import seconds_an_iteration
from engine.pipeline.jobs import Job
from tests.engine.budget import made_up

TOLD = 0.1  # seconds of an iteration by the trials
TRIALS = Step(step="trials", told=10.0, taken=10.0, is_done=True)


class Training:
    """A training that came to iteration 200 of its own, and ends when it is interrupted or asked a second time."""

    seconds = TOLD  # of an iteration, in truth
    started: tuple[Job, ...] = ()

    def __init__(self, job: Job, gpu: str | None) -> None:
        Training.started += (job,)
        self.folder = Path(str(job.words[-1]))
        self.code: int | None = None
        self.asked = 0
        self.folder.mkdir(parents=True)
        rows = [f"{n},0.1,20,,100,{9 + self.seconds * n:.3f}\n" for n in range(20, 220, 20)]
        (self.folder / "training.csv").write_text("iteration,loss,psnr,test_psnr,gaussians,seconds\n" + "".join(rows))

    def poll(self) -> int | None:
        self.asked += 1
        if self.code is None and self.asked > 1:
            self.code = 0
            (self.folder / "train_expert.json").touch()
        return self.code

    def interrupt(self) -> None:
        self.code = 130


def job_of(folder: Path, plan: Plan) -> dict[str, Job]:
    step = plan.steps[1]
    words = (
        "moegs.py",
        "train-expert",
        "--iterations",
        step.iterations,
        "--model_path",
        folder / "experts" / "freetime",
    )
    results = (folder / "experts" / "freetime" / "train_expert.json",)
    return {step.step: Job(scene="film", step=step.step, words=words, folder=folder, results=results)}


@pytest.mark.parametrize(
    ("seconds", "lengths"), [(0.1, [2000]), (0.11, [2000]), (0.2, [2000, 1000]), (0.05, [2000, 4000])]
)
def test_a_training_is_begun_anew_where_its_speed_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, lengths: list[int]
) -> None:
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Training)
    monkeypatch.setattr(engine.pipeline.queue, "PAUSE", 0.0)
    monkeypatch.setattr(Training, "seconds", seconds)
    monkeypatch.setattr(Training, "started", ())
    step = Step(
        step="expert_freetime", expert="FreeTime", iterations=2000, longest=30000, each=TOLD, early=TOLD, told=200.0
    )
    budget = f"{210 / 0.97:.3f}s"
    keeper = PlanKeeper(
        Plan(budget=budget, data_args="", experts=("FreeTime",), steps=(TRIALS, step)),
        tmp_path,
        lambda plan: job_of(tmp_path, plan),
        (),
    )
    assert keeper.run() is None
    assert [round(int(str(job.words[3])), -1) for job in Training.started] == pytest.approx(lengths, abs=20)
    saved = read_plan(tmp_path)
    assert saved == keeper.plan and saved.steps[1].is_done and saved.steps[1].told == 200.0
    assert Training.started[-1].is_done() and len(list(tmp_path.glob("old-*"))) == len(lengths) - 1


def test_done_steps_are_done_again_where_their_results_are_gone_or_of_another_scene(tmp_path: Path) -> None:
    step = Step(step="expert_freetime", iterations=2000, taken=9.0, is_done=True)
    plan = Plan(budget="500s", data_args="", experts=(), steps=(TRIALS, step))
    jobs = job_of(tmp_path, plan)
    job = jobs["expert_freetime"]
    assert [each.is_done for each in reopened(plan, jobs).steps] == [True, False]
    job.results[0].parent.mkdir(parents=True)
    job.results[0].touch()
    job.record.parent.mkdir()
    job.mark_done()
    assert reopened(plan, jobs) == plan
    elsewhere = {job.step: replace(job, words=(*job.words, "--source_path", "take2"))}
    assert [each.is_done for each in reopened(plan, elsewhere).steps] == [True, False]


def test_a_curve_tells_the_time_of_an_iteration_once_it_is_long_enough(tmp_path: Path) -> None:
    assert seconds_an_iteration(tmp_path, 10) is None
    (tmp_path / "film_0to149").mkdir()
    curve = tmp_path / "film_0to149" / "training.csv"
    curve.write_text("iteration,seconds\n20,8\n40,10\n60,12\n")
    assert seconds_an_iteration(tmp_path, 60) == pytest.approx(0.1)
    assert seconds_an_iteration(tmp_path, 80) is None
    curve.write_text("iteration,seconds\n20,1\n40,2\n60,3\n")  # too short to tell
    assert seconds_an_iteration(tmp_path, 60) is None


@pytest.mark.parametrize(("seconds", "factor"), [(0.05, 1.0), (0.2, 2.0)])
def test_a_training_faster_than_its_trial_says_nothing_of_other_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, factor: float
) -> None:
    monkeypatch.setattr(engine.pipeline.queue, "CommandProcess", Training)
    monkeypatch.setattr(engine.pipeline.queue, "PAUSE", 0.0)
    monkeypatch.setattr(Training, "seconds", seconds)
    monkeypatch.setattr(Training, "started", ())
    names = ("freetime", "ex4dgs")
    steps = [Step(step=f"expert_{name}", iterations=2000, longest=30000, each=TOLD) for name in names]
    watched = replace(steps[0], early=TOLD)

    def jobs(plan: Plan) -> dict[str, Job]:
        return {f"expert_{name}": job_of(tmp_path / name, plan)["expert_freetime"] for name in names}

    keeper = PlanKeeper(
        Plan(budget="500s", data_args="", experts=(), steps=(TRIALS, watched, steps[1])), tmp_path, jobs, ()
    )
    assert keeper.run() is None
    assert len(Training.started) == 3
    assert [step.each for step in keeper.plan.steps[1:]] == pytest.approx([seconds, TOLD * factor], rel=0.02)


@pytest.mark.parametrize(("taken", "prunes"), [(58e6, False), (59.9e6, True)])
def test_a_run_that_came_out_too_large_is_pruned(taken: float, prunes: bool) -> None:
    expert = Step(step="expert_ex4dgs", expert="Ex4DGS", iterations=2000, run_bytes=30e6, taken=50.0, is_done=True)
    router = Step(step="train", iterations=1000, shortest=200, fixed=9.0, each=0.01, run_bytes=1e6)
    render = Step(step="render", fixed=12.0)
    plan = Plan(budget="4min,60MB", data_args="", experts=("FreeTime", "Ex4DGS"), steps=(expert, router, render))
    kept = within_size(plan, taken)
    if not prunes:
        assert kept == plan
        return
    assert [step.step for step in kept.steps] == ["expert_ex4dgs", "train", "prune", "render"]
    assert kept.run_bytes == 60e6
    assert kept.steps[2].told == 0 and kept.seconds_left > plan.seconds_left
    assert within_size(kept, taken) == kept, "once"
    assert within_size(replace(plan, budget="4min"), taken).run_bytes is None


def test_experts_whose_gaussians_grow_are_trained_first() -> None:
    known = replace(made_up.expert("FreeTime", "freetime"), grows_until=0.0)
    growing = made_up.expert("Ex4DGS", "ex4dgs")
    chosen = choose([known, growing], made_up.mixture(), made_up.SCENE, Budget(seconds=600.0))
    assert chosen is not None
    assert [step.step for step in chosen.steps] == ["expert_ex4dgs", "expert_freetime", "train", "render"]
