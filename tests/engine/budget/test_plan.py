from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.budget.keeping import adjusted
from engine.budget.plan import Plan, Step, kept_line, plan_lines, read_plan, write_plan
from engine.errors import ConfigError

STEPS = (
    Step(step="trials", told=12.0, taken=12.0, is_done=True),
    Step(
        step="expert_freetime",
        expert="FreeTime",
        iterations=1200,
        longest=30000,
        gaussians=4800,
        fixed=8,
        each=0.1,
        told=128.0,
        gpu_bytes=2e9,
        run_bytes=1.5e6,
    ),
    Step(step="train", iterations=400, longest=5000, fixed=10, each=0.1, told=50.0, run_bytes=5e5),
)
PLAN = Plan(budget="200s", data_args="", experts=("FreeTime", "Ex4DGS"), steps=STEPS)
FAULTS: tuple[dict[str, object], ...] = (
    {"step": "foo"},
    {"expert": "Nobody"},
    {"told": "x"},
    {"told": None},
    {"iterations": -5},
    {"iterations": 1.5},
    {"each": float("nan")},
    {"gpu_bytes": True},
    {"is_done": 1},
    {"more": 1},
)


def test_the_table_shows_each_step_and_the_sum() -> None:
    assert plan_lines(PLAN) == [
        "  step    expert    iterations  Gaussians  planned, min  GPU memory, GB   MB",
        "  trials                                            0.2",
        "  expert  FreeTime       1,200      4,800           2.1             2.0  1.5",
        "  train                    400                      0.8                  0.5",
        "  all                                               3.2             2.0  2.0",
    ]
    on_cpu = replace(PLAN, steps=tuple(replace(step, gpu_bytes=None) for step in STEPS))
    assert plan_lines(on_cpu)[0].split()[4:] == ["planned,", "min", "MB"]
    assert plan_lines(on_cpu)[-1].split() == ["all", "3.2", "2.0"]
    ended = PLAN.with_step(replace(STEPS[1], taken=150.0, is_done=True))
    assert plan_lines(ended, ended=True)[2].split() == [
        "expert",
        "FreeTime",
        "1,200",
        "4,800",
        "2.1",
        "2.5",
        "2.0",
        "1.5",
    ]
    assert kept_line(ended) == "planned 3.2 min, taken 2.7 min (-15 %)"


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_plan(tmp_path) is None
    path = write_plan(PLAN, tmp_path)
    assert read_plan(tmp_path) == PLAN
    whole = json.loads(path.read_text())
    step = whole["steps"][1]
    for content in (
        {},
        [],
        whole | {"format": 2},
        whole | {"budget": 5},
        whole | {"experts": ["Nobody"]},
        whole | {"run_bytes": "1"},
        *(whole | {"steps": [step | changed]} for changed in FAULTS),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=r"auto\.json: not a plan .* delete it and choose another --output"):
            read_plan(tmp_path)


def test_a_step_that_took_longer_shortens_the_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    late = PLAN.with_step(replace(STEPS[1], taken=150.0, is_done=True))
    changed = adjusted(late)
    assert changed.steps[2].iterations == 220  # 194 s for all, less 162 taken and 10 of its own
    assert changed.steps[2].told == 50.0
    assert caplog.messages == ["the other steps would take 50 s, 32 s are left: iterations change: train 400 -> 220"]
    early = PLAN.with_step(replace(STEPS[1], taken=100.0, is_done=True))
    assert adjusted(early).steps[2].iterations == 720
    assert adjusted(changed) == changed


def test_without_a_time_lengths_stay() -> None:
    late = replace(PLAN, budget="60MB").with_step(replace(STEPS[1], taken=150.0, is_done=True))
    assert adjusted(late) == late
