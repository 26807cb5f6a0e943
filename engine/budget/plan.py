"""A plan: steps with iterations and what they are told to take; its table, and its file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from common.disk.files import read_json, write_json
from common.text.tables import Column, table_lines
from common.text.units import GIGABYTE, MEGABYTE
from engine.errors import ConfigError
from experts import EXPERTS

PLAN_FILE = "auto.json"  # in the folder of a scene's results
_FORMAT = 1
STEPS = ("prepare", "trials", "decode", "train", "prune", "render")  # beside those of experts
HEADINGS = ("step", "expert", "iterations", "Gaussians", "planned, min", "taken, min", "GPU memory, GB", "MB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a plan. Its time is `fixed + each * iterations`."""

    step: str  # the first part of the job's name; of experts the whole, "expert_stg"
    expert: str = ""
    iterations: int = 0
    longest: int = 0  # iterations that are of use
    shortest: int = 1  # iterations without which the steps before it were in vain
    gaussians: int = 0
    fixed: float = 0.0  # seconds
    each: float = 0.0  # seconds of an iteration, of all models that a step trains
    early: float = 0.0  # the same of a training with as many Gaussians from its start on; 0: they grow in number
    gpu_bytes: float | None = None
    run_bytes: float | None = None  # of the files that it adds to the run
    told: float = 0.0  # seconds, as the first plan had it
    taken: float | None = None  # seconds, so far; None: not begun
    is_done: bool = False

    @property
    def seconds(self) -> float:
        """Time that it is still told to take."""
        if self.is_done:
            return 0.0
        whole = self.fixed + self.each * self.iterations
        return whole if self.taken is None else max(self.fixed, whole - self.taken)

    @property
    def is_adjustable(self) -> bool:
        """True where its iterations can be changed: it has some, and was not begun."""
        return self.each > 0 and self.taken is None and not self.is_done


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a run in order, those that came before planning among them, and the budget that they are for."""

    budget: str  # as the user wrote it
    data_args: str
    experts: tuple[str, ...]  # names in EXPERTS, by their worth
    steps: tuple[Step, ...]
    run_bytes: float | None = None  # to which the run is pruned; None: not pruned
    in_tf32: bool = False  # experts whose networks can learn in TF32 do; plans of earlier versions do not tell it

    @property
    def seconds_left(self) -> float:
        """Time that the steps are still told to take."""
        return sum(step.seconds for step in self.steps)

    @property
    def seconds_taken(self) -> float:
        """Time that steps took so far."""
        return sum(step.taken or 0.0 for step in self.steps)

    @property
    def told_bytes(self) -> float | None:
        """The size of the finished run; None where no step adds to it."""
        sizes = [step.run_bytes for step in self.steps if step.run_bytes is not None]
        return min(sum(sizes), float("inf") if self.run_bytes is None else self.run_bytes) if sizes else None

    def with_step(self, changed: Step) -> Plan:
        """The plan with one step changed."""
        return replace(self, steps=tuple(changed if step.step == changed.step else step for step in self.steps))


def plan_lines(plan: Plan, *, ended: bool = False) -> list[str]:
    """Lines of a table of a plan's steps, with their sum. ended: with the times that they took.

    The memory of a GPU is shown where one is used.
    """
    peak = max((step.gpu_bytes for step in plan.steps if step.gpu_bytes is not None), default=None)
    hidden = {*(() if ended else ("taken, min",)), *(("GPU memory, GB",) if peak is None else ())}
    shown = [index for index, heading in enumerate(HEADINGS) if heading not in hidden]
    left = ("step", "expert")
    columns = [Column(heading=HEADINGS[index], gap=2, left=HEADINGS[index] in left) for index in shown]
    rows = [_row(step) for step in plan.steps]
    told = sum(step.told for step in plan.steps)
    rows.append(
        ["all", "", "", "", _minutes(told), _minutes(plan.seconds_taken), _size(peak, GIGABYTE), _size(plan.told_bytes)]
    )
    return table_lines(columns, [[row[index] for index in shown] for row in rows])


def _row(step: Step) -> list[str]:
    counts = [f"{count:,}" if count else "" for count in (step.iterations, step.gaussians)]
    times = [_minutes(step.told), "" if step.taken is None else _minutes(step.taken)]
    sizes = [_size(step.gpu_bytes, GIGABYTE), _size(step.run_bytes)]
    return [step.step.split("_")[0], step.expert, *counts, *times, *sizes]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}"


def _size(count: float | None, unit: float = MEGABYTE) -> str:
    return "" if count is None else f"{count / unit:.1f}"


def kept_line(plan: Plan) -> str:
    """A line that compares the time of all steps with what the first plan told."""
    told, taken = sum(step.told for step in plan.steps), plan.seconds_taken
    return f"planned {_minutes(told)} min, taken {_minutes(taken)} min ({100 * (taken - told) / told:+.0f} %)"


def write_plan(plan: Plan, folder: Path) -> Path:
    """Leaves a plan in the folder of a scene's results, whole or not at all."""
    return write_json(folder / PLAN_FILE, {"format": _FORMAT, **asdict(plan)})


def read_plan(folder: Path) -> Plan | None:
    """The plan that was left in a folder; None where there is none. ConfigError for a file that cannot be read."""
    path = folder / PLAN_FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = read_json(path)
        if content.pop("format") != _FORMAT:
            raise ValueError("of another version")
        steps = tuple(Step(**step) for step in content.pop("steps"))
        plan = Plan(**{**content, "experts": tuple(content["experts"]), "steps": steps})
        _require_types(plan)
        for step in steps:
            _require_types(step)
        _require_known(plan)
        return plan
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a plan ({error!r}); delete it and choose another --output") from error


def _require_types(part: Plan | Step) -> None:
    """Raises ValueError for a field of another type than it is to have, and for numbers that cannot be."""
    for name, kind in get_type_hints(type(part)).items():
        value = getattr(part, name)
        kinds = {tuple} if get_origin(kind) is tuple else set(get_args(kind) or (kind,))  # of float | None: both
        if type(value) not in kinds | ({int} if float in kinds else set()):
            raise ValueError(f"{name} is {value!r}")
        if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value!r}")


def _require_known(plan: Plan) -> None:
    """Raises ValueError for experts and steps that there are not."""
    known = {*STEPS, *(f"expert_{spec.key}" for spec in EXPERTS.values())}
    for name in (*plan.experts, *(step.expert for step in plan.steps if step.expert)):
        if name not in EXPERTS:
            raise ValueError(f"no expert is called {name!r}")
    for step in plan.steps:
        if step.step not in known:
            raise ValueError(f"no step is called {step.step!r}")


def pending(plan: Plan) -> Sequence[Step]:
    """The steps that are not done, in order."""
    return [step for step in plan.steps if not step.is_done]
