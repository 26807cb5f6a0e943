from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.pipeline.jobs import Job
from engine.pipeline.queue import JobQueue, Outcome

STEP = """\
import os, signal, sys, time
name, seconds, code = sys.argv[1:4]
def saved(*_):
    print("saved")
    sys.exit(130)
signal.signal(signal.SIGINT, saved)
begun = time.monotonic()
open(name + ".begun", "w").close()
time.sleep(float(seconds))
if code == "0":
    with open(name, "w") as file:
        print(os.environ.get("CUDA_VISIBLE_DEVICES"), begun, time.monotonic(), file=file)
elif code != "lost":
    print("error: no room")
    sys.exit(int(code))
"""


class Steps:
    """Jobs of a script that takes a moment, and writes a file or fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.script = root / "step.py"
        self.script.write_text(STEP)

    def job(self, scene: str, step: str, *, after: Sequence[str] = (), code: str = "0", seconds: float = 0.0) -> Job:
        target = self.root / f"{scene}_{step}"
        words = (self.script, target, seconds, code)
        folder = self.root / scene
        return Job(scene=scene, step=step, words=words, folder=folder, results=(target,), after=tuple(after))

    def told(self, scene: str, step: str) -> list[str]:
        return (self.root / f"{scene}_{step}").read_text().split()


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


def run(jobs: Sequence[Job], gpus: Sequence[str] = (), *, each: int = 1) -> list[Outcome]:
    return JobQueue(gpus, each=each, pause=0.01).run(jobs)


def states(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def test_one_job_runs_on_each_gpu_and_steps_wait_for_those_before_them(steps: Steps) -> None:
    names = [(scene, step) for scene in ("one", "two") for step in ("a", "b", "end")]
    jobs = [steps.job(*name, after=("a", "b") if name[1] == "end" else (), seconds=0.15) for name in names]
    assert states(run(jobs, gpus=("4", "7"))) == ["done"] * 6
    told = {name: steps.told(*name) for name in names}
    assert {gpu for gpu, *_ in told.values()} == {"4", "7"}
    for gpu in ("4", "7"):
        spans = sorted((float(begun), float(end)) for used, begun, end in told.values() if used == gpu)
        assert all(end <= begun for (_, end), (begun, _) in zip(spans, spans[1:], strict=False))  # noqa: RUF007
    for scene in ("one", "two"):
        assert float(told[scene, "end"][1]) >= max(float(told[scene, step][2]) for step in "ab")
    log = jobs[0].log.read_text()
    assert log.startswith("$ python ") and str(steps.script) in log


def test_as_many_jobs_as_asked_run_on_each_gpu(steps: Steps) -> None:
    jobs = [steps.job(scene, "a", seconds=0.3) for scene in ("one", "two", "three", "four", "five")]
    assert states(run(jobs, gpus=("4", "7"), each=2)) == ["done"] * 5
    told = [steps.told(scene, "a") for scene in ("one", "two", "three", "four", "five")]
    assert [gpu for gpu, *_ in told[:4]] == ["4", "7", "4", "7"], "the GPU with the fewest jobs is next"
    assert max(float(begun) for _, begun, _ in told[:4]) < min(float(end) for *_, end in told[:4])
    assert float(told[4][1]) >= min(float(end) for *_, end in told[:4])


def test_without_a_gpu_one_job_runs_at_a_time(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert states(run([steps.job("one", "a", seconds=0.1), steps.job("two", "a")])) == ["done", "done"]
    assert float(steps.told("two", "a")[0]) >= float(steps.told("one", "a")[1])  # no GPU's name before the times


def test_a_failure_ends_its_scene_alone_and_the_next_run_goes_on(steps: Steps) -> None:
    def jobs(code: str) -> list[Job]:
        broken = [steps.job("one", "a"), steps.job("one", "b", after=("a",), code=code)]
        return [*broken, steps.job("one", "c", after=("b",)), steps.job("two", "a")]

    outcomes = run(jobs("3"))
    assert states(outcomes) == ["done", "failed", "not run", "done"]
    assert outcomes[1].fault == "exit code 3: error: no room"
    assert states(run(jobs("0"))) == ["skipped", "done", "done", "skipped"]
    assert states(run(jobs("0"))) == ["skipped"] * 4
    (steps.root / "one_b").unlink()
    assert states(run(jobs("0"))) == ["skipped", "done", "done", "skipped"]  # what follows a step is done anew, too


@pytest.mark.parametrize(("later", "then"), [(1, "done"), (0, "skipped"), (-1, "skipped")])
def test_a_step_that_another_call_did_again_is_followed(steps: Steps, later: int, then: str) -> None:
    """Also where this call leaves that step out. Records of equal time tell no order."""
    jobs = [steps.job("one", "a"), steps.job("one", "b", after=("a",)), steps.job("two", "b", after=("a",))]
    assert states(run(jobs)) == ["done"] * 3
    time_of_b = jobs[1].record.stat().st_mtime_ns
    os.utime(jobs[0].record, ns=(time_of_b + later, time_of_b + later))
    assert states(run(jobs[1:])) == [then, "skipped"]
    os.utime(jobs[0].record, ns=(time_of_b + later, time_of_b + later))
    os.utime(jobs[1].record, ns=(time_of_b, time_of_b))
    assert states(run(jobs)) == ["skipped", then, "skipped"]


def test_a_record_of_a_clock_that_is_ahead_is_followed_once(steps: Steps) -> None:
    jobs = [steps.job("one", "a"), steps.job("one", "b", after=("a",))]
    assert states(run(jobs)) == ["done"] * 2
    ahead = time.time_ns() + 10**12
    os.utime(jobs[0].record, ns=(ahead, ahead))
    assert states(run(jobs)) == ["skipped", "done"]
    assert states(run(jobs)) == ["skipped", "skipped"]


def test_other_arguments_are_another_command(steps: Steps) -> None:
    assert states(run([steps.job("one", "a")])) == ["done"]
    assert states(run([steps.job("one", "a", seconds=0.01)])) == ["done"]


@pytest.mark.parametrize(
    ("before", "now", "then"),
    [
        ("", "--cache_path /disk/f", "skipped"),
        ("--cache_path=/disk/f --cache_mb 5", "--cache_path '/with space/f'", "skipped"),
        ("--quiet --cache_path /a --seed 3", "--quiet --seed 3", "skipped"),
        ("--cache_path /a --seed 3", "--cache_path /a --seed 4", "done"),
        ("--cache_path /a", "--cache_path /a /b", "done"),
        ("--cache_paths /a", "--cache_paths /b", "done"),
        ("", "--cache_gb 5", "done"),  # a training's samples follow from it
    ],
)
def test_another_place_of_decoded_frames_is_no_other_command(steps: Steps, before: str, now: str, then: str) -> None:
    job = steps.job("one", "a")
    assert states(run([replace(job, words=(*job.words, *shlex.split(before)))])) == ["done"]
    again = replace(job, words=(*job.words, *shlex.split(now)))
    assert states(run([again])) == [then] and states(run([again])) == ["skipped"]


def test_a_damaged_record_is_of_no_command(steps: Steps) -> None:
    job = steps.job("one", "a")
    assert states(run([job])) == ["done"]
    job.record.write_text(f"{job.record.read_text().strip()} 'cut")
    assert states(run([job])) == ["done"]


def test_a_step_that_leaves_no_result_has_failed(steps: Steps) -> None:
    (outcome,) = run([steps.job("one", "a", code="lost")])
    assert outcome.fault == f"exit code 0, but it left none of {steps.root / 'one_a'}"


def test_a_log_that_cannot_be_written_is_a_failure(steps: Steps) -> None:
    (steps.root / "one").write_text("a file")
    assert states(run([steps.job("one", "a"), steps.job("two", "a")])) == ["failed", "done"]


def test_an_interrupt_lets_running_jobs_save_and_starts_no_others(steps: Steps) -> None:
    jobs = [steps.job("one", "a", seconds=60), steps.job("one", "b"), steps.job("two", "a")]

    def interrupt() -> None:
        while not (steps.root / "one_a.begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert states(run(jobs)) == ["interrupted", "not run", "not run"]
    assert jobs[0].log.read_text().endswith("saved\n")
    assert not jobs[0].record.exists()
