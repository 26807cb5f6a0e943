"""The queue of jobs: one or more at a time on each GPU; a scene in which a job fails gets no further ones."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from common.text.wording import duration
from engine.pipeline.jobs import CommandProcess, Job, Process
from engine.training.interruption import Interruption

logger = logging.getLogger(__name__)

PAUSE = 0.2  # seconds between looks at the processes

State = Literal["done", "skipped", "failed", "not run", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of a job."""

    job: Job
    state: State
    fault: str = ""  # of a failed one: "exit code 2: error: no room"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    gpu: str | None
    job: Job
    process: Process
    begun: float


class JobQueue:
    """Runs jobs in order, as soon as those before them are done and a GPU is free.

    gpus: () stands for a machine without GPU, where one job runs at a time. each: jobs that run on a GPU at a time.
    """

    def __init__(
        self,
        gpus: Sequence[str],
        *,
        each: int = 1,
        start: Callable[[Job, str | None], Process] | None = None,
        pause: float | None = None,
    ) -> None:
        self._gpus: list[str | None] = list(gpus) or [None]
        self._each = each if gpus else 1
        self._start = start or CommandProcess
        self._pause = PAUSE if pause is None else pause
        self._running: list[_Running] = []
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        self._planned: set[tuple[str, str]] = set()

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Runs the jobs; their outcomes in order. Ctrl-C lets running jobs save and end, a second reaches them too."""
        waiting = list(jobs)
        self._planned = {(job.scene, job.step) for job in jobs}
        asked = False  # the running jobs to end
        with Interruption() as interruption:
            while waiting or self._running:
                try:
                    if interruption.requested and not asked:
                        asked = True
                        waiting.clear()
                        logger.warning("interrupted: the running jobs save and end")
                        self._interrupt()
                    waiting = [job for job in waiting if not self._settle(job)]
                    time.sleep(self._pause if self._running else 0)
                    self._collect(interrupted=asked)
                except KeyboardInterrupt:  # the second and every further one
                    self._interrupt()
        return [self._outcomes.get((job.scene, job.step), Outcome(job=job, state="not run")) for job in jobs]

    def _settle(self, job: Job) -> bool:
        """Starts a job, or decides that it is not run; False while it has to wait."""
        planned = [key for step in job.after if (key := (job.scene, step)) in self._planned]
        before = [self._outcomes.get(key) for key in planned]
        if any(outcome.job.scene == job.scene and outcome.state == "failed" for outcome in self._outcomes.values()):
            self._end(Outcome(job=job, state="not run"))
            return True
        if any(outcome is None for outcome in before):
            return False
        fresh = any(outcome is not None and outcome.state == "done" for outcome in before)
        if not fresh and job.is_current():
            logger.info("%s: %s: skipped, its result is there (%s)", job.scene, job.step, job.record)
            self._end(Outcome(job=job, state="skipped"))
            return True
        gpu = min(self._gpus, key=self._jobs_on)
        if self._jobs_on(gpu) == self._each:
            return False
        place = "" if gpu is None else f" on GPU {gpu}"
        logger.info("%s: %s: started%s; log: %s", job.scene, job.step, place, job.log)
        try:
            job.record.unlink(missing_ok=True)
            process = self._start(job, gpu)
        except OSError as error:
            logger.error("%s: %s: cannot be started: %s", job.scene, job.step, error)
            self._end(Outcome(job=job, state="failed", fault=str(error)))
            return True
        self._running.append(_Running(gpu=gpu, job=job, process=process, begun=time.monotonic()))
        return True

    def _jobs_on(self, gpu: str | None) -> int:
        return sum(running.gpu == gpu for running in self._running)

    def _collect(self, *, interrupted: bool) -> None:
        """Ends the jobs whose processes have ended."""
        for running in list(self._running):
            code = running.process.poll()
            if code is None:
                continue
            self._running.remove(running)
            job, took = running.job, duration(time.monotonic() - running.begun)
            fault = _fault(job, code)
            if not fault:
                job.mark_done()
                logger.info("%s: %s: done in %s", job.scene, job.step, took)
                self._end(Outcome(job=job, state="done"))
            elif interrupted:
                logger.info("%s: %s: interrupted", job.scene, job.step)
                self._end(Outcome(job=job, state="interrupted"))
            else:
                logger.error("%s: %s: failed after %s, %s; log: %s", job.scene, job.step, took, fault, job.log)
                self._end(Outcome(job=job, state="failed", fault=fault))

    def _interrupt(self) -> None:
        for running in self._running:
            running.process.interrupt()

    def _end(self, outcome: Outcome) -> None:
        self._outcomes[outcome.job.scene, outcome.job.step] = outcome


def _fault(job: Job, code: int) -> str:
    """What is wrong with a process that ended; empty where nothing is."""
    if code != 0:
        return f"exit code {code}: {_last_line(job)}"
    return "" if job.has_results() else f"exit code 0, but it left none of {', '.join(map(str, job.results))}"


def _last_line(job: Job) -> str:
    lines = job.log.read_text(encoding="utf-8", errors="replace").splitlines() if job.log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
