"""The run of a plan: one job after the other, and after each the lengths of the others by the time that is left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from common.disk.aside import set_aside
from common.text.units import MEGABYTE
from common.text.wording import bytes_text, duration
from engine.budget.choice import TARGET, pruning_like, rescaled
from engine.budget.plan import Plan, Step, pending, write_plan
from engine.budget.taken import reports_in
from engine.budget.wanted import read_budget
from engine.budget.watching import WatchedTraining
from engine.pipeline import queue
from engine.pipeline.jobs import Job, Process
from engine.pipeline.queue import JobQueue, Outcome
from engine.training.curve import CURVE_FILE, read_curve

logger = logging.getLogger(__name__)

NEAR_ENOUGH = 0.02  # of the time that is left: smaller differences change no lengths
LATE = 0.05  # of the whole time, by which the end may be late before a training is begun anew
SHRINKING = 0.5  # of the iterations of later steps that may be given up before
SLOWEST = 3.0  # times as long as told that other steps are expected to take, at most


class PlanKeeper:
    """Runs the steps of a plan. `plan` is as far as it came, and is left in the folder after each step.

    folder: of the scene's results. jobs_of: the jobs of a plan's steps, by name.
    """

    def __init__(
        self, plan: Plan, folder: Path, jobs_of: Callable[[Plan], dict[str, Job]], gpus: Sequence[str]
    ) -> None:
        self.plan = plan
        self._folder = folder
        self._jobs_of = jobs_of
        self._gpus = gpus
        self._begun = perf_counter()  # of the step that runs; what lies between two steps counts for the second

    def run(self) -> Outcome | None:
        """Runs what is not done; the outcome that ended it early, None at its end."""
        fresh = False  # a step was run: those after it are to be run, too
        self.plan = reopened(self.plan, self._jobs_of(self.plan))
        while steps := pending(self.plan):
            if steps[0].step == "train":  # all experts are trained
                self.plan = within_size(self.plan, self._trained_bytes())
            self.plan = adjusted(self.plan)
            step = self._step(steps[0].step)
            outcome = self._run_step(step, fresh=fresh)
            if outcome.state not in ("done", "skipped"):
                return outcome
            fresh = fresh or outcome.state == "done"
        return None

    def _run_step(self, step: Step, *, fresh: bool) -> Outcome:
        job = self._job(step)
        if fresh:
            job.record.unlink(missing_ok=True)
        if step.step == "prune" and not job.is_done():  # it writes to a new folder alone
            set_aside(self._folder, [self._folder / str(job.words[job.words.index("--out") + 1])])
        is_first, watches = step.taken is None, step.early > 0 and step.taken is None
        start = self._watched if watches else None
        self._change(replace(step, taken=step.taken or 0.0))
        (outcome,) = JobQueue(self._gpus[:1], start=start).run([job])
        now, step = perf_counter(), self._step(step.step)
        done = outcome.state in ("done", "skipped")
        self._change(replace(step, taken=(step.taken or 0.0) + now - self._begun, is_done=done))
        self._begun = now
        if outcome.state == "done":
            self._job(step).mark_done()  # of the lengths that it was run with
            if is_first:
                self.plan = with_overheads(self.plan, self._step(step.step), trained_seconds(self._job(step)))
        return outcome

    def _watched(self, job: Job, gpu: str | None) -> Process:
        step, process = self._step(job.step), queue.CommandProcess(job, gpu)
        if read_budget(self.plan.budget).seconds is None:
            return process

        def again(factor: float) -> Process:
            return queue.CommandProcess(self._begin_anew(job, factor), gpu)

        return WatchedTraining(
            process,
            model_folder(job),
            iterations=step.iterations,
            early=step.early,
            slack=slack(self.plan),
            lost=lambda: perf_counter() - self._begun,
            again=again,
        )

    def _begin_anew(self, job: Job, factor: float) -> Job:
        """The job of a training that is to be as long as its speed allows; what it did so far counts as a trial."""
        lost = perf_counter() - self._begun
        self._begun += lost
        set_aside(self._folder, [model_folder(job)])
        logger.info(
            "%s: an iteration takes %.2f times as long as in the trial: it begins anew",
            job.step,
            factor,
        )
        trials = self._step("trials")
        self.plan = self.plan.with_step(replace(trials, taken=(trials.taken or 0.0) + lost))
        # A slow machine slows all steps. A training that is faster than its trial says nothing of the others.
        steps = [_slower(each, factor if each.step == job.step else max(1.0, factor)) for each in self.plan.steps]
        steps = [replace(each, taken=None) if each.step == job.step else each for each in steps]
        self.plan = adjusted(replace(self.plan, steps=tuple(steps)))
        step = self._step(job.step)
        self._change(replace(step, taken=0.0))
        return self._job(step)

    def _trained_bytes(self) -> float:
        """The size of the experts' files, by the reports of their trainings."""
        folders = [model_folder(self._job(step)) for step in self.plan.steps if step.expert]
        return MEGABYTE * sum(report["megabytes"] for folder in folders for report in reports_in(folder))

    def _job(self, step: Step) -> Job:
        return self._jobs_of(self.plan)[step.step]

    def _step(self, name: str) -> Step:
        return next(step for step in self.plan.steps if step.step == name)

    def _change(self, step: Step) -> None:
        self.plan = self.plan.with_step(step)
        write_plan(self.plan, self._folder)


def reopened(plan: Plan, jobs: Mapping[str, Job]) -> Plan:
    """The plan with those steps to be done whose results are gone or of another command, as for another scene."""
    lost = [step for step in plan.steps if step.is_done and step.step in jobs and not jobs[step.step].is_done()]
    for step in lost:
        logger.info("%s: its result is not there any more, or is of another command: it is done again", step.step)
    return replace(plan, steps=tuple(replace(step, is_done=False) if step in lost else step for step in plan.steps))


def model_folder(job: Job) -> Path:
    """The folder that an expert's training writes to."""
    return Path(str(job.words[job.words.index("--model_path") + 1]))


def _slower(step: Step, factor: float) -> Step:
    """The step with iterations that take so many times as long."""
    return replace(step, each=step.each * factor, early=step.early * factor)


def trained_seconds(job: Job) -> float | None:
    """Seconds that a training took for its iterations, by its curves; None of a step that has none."""
    words = [str(word) for word in job.words]
    if job.step.startswith("expert_"):
        folder = model_folder(job)
        paths = [folder / CURVE_FILE, *sorted(folder.glob(f"*/{CURVE_FILE}"))]
    elif job.step.startswith("train"):
        paths = [Path(words[words.index("--save_path") + 1]) / CURVE_FILE]
    else:
        paths = []
    ends = [rows[-1]["seconds"] for rows in map(read_curve, paths) if rows and "seconds" in rows[-1]]
    return sum(ends) if ends else None


def with_overheads(plan: Plan, ended: Step, trained: float | None) -> Plan:
    """The plan whose steps that were not begun take longer beside their iterations, as the ended one did.

    Each takes as many times as long as told, but no more seconds longer than the ended one: what is common to all
    commands was told too low, or the machine is slower. trained: seconds of its iterations; None: not known, so nothing
    changes. An ended step that took less than told says nothing of others.
    """
    if trained is None or ended.fixed <= 0 or ended.taken is None:
        return plan
    longer = ended.taken - trained - ended.fixed
    factor = min(1 + longer / ended.fixed, SLOWEST)
    if factor <= 1 + NEAR_ENOUGH:
        return plan
    if not any(map(_is_to_come, plan.steps)):
        return plan
    logger.info(
        "%s: start, saves and scores took %.0f s longer than planned; so may those of the other steps",
        *(ended.step, longer),
    )
    steps = [
        replace(each, fixed=each.fixed + min(longer, (factor - 1) * each.fixed)) if _is_to_come(each) else each
        for each in plan.steps
    ]
    return replace(plan, steps=tuple(steps))


def _is_to_come(step: Step) -> bool:
    return step.taken is None and not step.is_done


def within_size(plan: Plan, trained_bytes: float) -> Plan:
    """The plan with a step that prunes its run where that is too large for the budget, and without where it fits.

    trained_bytes: of the experts' files, all of which are trained.
    """
    most = read_budget(plan.budget).run_bytes
    at = next((index for index, step in enumerate(plan.steps) if step.step == "train"), None)
    if most is None or at is None:
        return plan
    router, prunes = plan.steps[at], any(step.step == "prune" for step in plan.steps)
    size = trained_bytes + (router.run_bytes or 0.0)
    sizes = bytes_text(round(size)), bytes_text(round(most))
    if size > most and not prunes:
        logger.info("the run would have %s, more than the %s of the budget: it is pruned", *sizes)
        steps = (*plan.steps[: at + 1], pruning_like(router), *plan.steps[at + 1 :])
        return replace(plan, steps=steps, run_bytes=most)
    if size <= most and prunes:
        logger.info("the run has %s, and %s are its budget: it is not pruned", *sizes)
        return replace(plan, steps=tuple(step for step in plan.steps if step.step != "prune"), run_bytes=None)
    return plan


def slack(plan: Plan) -> float:
    """Seconds by which the step under way may be late: steps after it can be shorter, and the end a little later."""
    later = [step for step in plan.steps if step.is_adjustable]
    spare = sum(step.each * max(0, step.iterations - step.shortest) for step in later)
    return LATE * (read_budget(plan.budget).seconds or 0.0) + SHRINKING * spare


def adjusted(plan: Plan) -> Plan:
    """The plan with the iterations of steps that were not begun changed, where the time that is left says so."""
    seconds = read_budget(plan.budget).seconds
    if seconds is None:
        return plan
    left = TARGET * seconds - plan.seconds_taken
    if abs(plan.seconds_left - left) <= NEAR_ENOUGH * max(left, 0.0):
        return plan
    steps = rescaled(plan.steps, left)
    changes = [
        f"{new.expert or new.step} {old.iterations:,} -> {new.iterations:,}"
        for old, new in zip(plan.steps, steps, strict=True)
        if old.iterations != new.iterations
    ]
    if not changes:
        return plan
    said = f"the other steps would take {duration(plan.seconds_left)}, {duration(max(left, 0.0))} are left"
    logger.info("%s: iterations change: %s", said, ", ".join(changes))
    return replace(plan, steps=steps)
