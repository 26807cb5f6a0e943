"""The speeds on several ranks, and their table."""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace

import pytest

from benchmarks import scaling
from tests.on_ranks import ends_of

SIZE = ["--device", "cpu", "--gaussians", "40", "--width", "32", "--height", "24", "--steps", "1", "--frames", "3"]


def test_the_table_has_speeds_and_efficiencies(capsys):
    speeds = {1: {"router": 10.0, "stg": 4.0}, 2: {"router": 15.0, "stg": 8.0}, 4: {"router": 30.0, "stg": 8.0}}
    asked, given = [], []

    def measure(count, words, *, threads):
        given.append(threads)
        asked.append(list(words))
        return speeds[count]

    assert scaling.main(["--ranks", "4", "1", "2"], measure=measure) == 0
    rows = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["ranks", "router, images/s", "efficiency", "stg, images/s", "efficiency"]
    assert rows[1:] == [
        ["1", "10.00", "1.00", "4.00", "1.00"],
        ["2", "15.00", "0.75", "8.00", "1.00"],
        ["4", "30.00", "0.75", "8.00", "0.50"],
    ]
    assert asked == [["--ranks", "4", "1", "2"]] * 3
    assert given == [max(1, len(os.sched_getaffinity(0)) // 4)] * 3, "ranks are compared with as many threads each"


def test_two_ranks_measure_all_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "WARM_UP", 1)
    render = scaling.rendering_seconds
    monkeypatch.setattr(scaling, "rendering_seconds", lambda run, frames: render(run, frames) and frames / 4)
    out = tmp_path / "speeds.json"
    words = [*SIZE, "--experts", "freetime", "--out", str(out)]
    ended = ends_of(lambda: scaling.main(words), is_command=True)
    assert [each.value for each in ended] == [0, 0], ended[0].said + ended[1].said
    assert ended[0].said.startswith("2 ranks: E4, 40 Gaussians each, 32x24 px") and ended[1].said == ""
    speeds = json.loads(out.read_text())
    assert f"freetime: {speeds['freetime']:.2f} images/s" in ended[0].said, "told before all parts are known"
    assert set(speeds) == {"router", "rendering", "freetime"} and min(speeds.values()) > 0
    assert speeds["rendering"] == 4


def test_ranks_keep_to_cores_of_their_own(monkeypatch):
    taken = []
    monkeypatch.setattr(scaling.os, "sched_getaffinity", lambda process: {8, 3, 4, 5, 6, 7})
    monkeypatch.setattr(scaling.os, "sched_setaffinity", lambda process, cores: taken.append(list(cores)))
    for rank in "012":
        scaling.keep_to_own_cores({"LOCAL_RANK": rank, "OMP_NUM_THREADS": "2"})
    assert taken == [[3, 4], [5, 6], [7, 8]]


def test_the_start_of_a_rendering_does_not_count(monkeypatch):
    rendered = []

    def seconds(run, frames):
        rendered.append(frames)
        return 30 + frames / 20

    monkeypatch.setattr(scaling, "rendering_seconds", seconds)
    assert scaling.rendering_speed(SimpleNamespace(frames=50), None) == pytest.approx(20)
    assert rendered == [scaling.WARM_UP, scaling.WARM_UP + 50, scaling.WARM_UP]


def test_torchrun_starts_the_ranks_and_its_failure_is_told(capsys, monkeypatch):
    started = []

    def run(words, *, check, env):
        started.append(words)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(scaling.subprocess, "run", run)
    assert scaling.main(["--ranks", "2"]) == 2
    assert "error: 2 ranks: exit code 1, see above" in capsys.readouterr().err
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "benchmarks.scaling"]
    assert started[0][1:7] == torchrun and started[0][7:10] == ["--ranks", "2", "--out"]


@pytest.mark.parametrize("words", [["--ranks", "none"], ["--steps"]])
def test_wrong_use_is_refused(words):
    with pytest.raises(SystemExit) as ended:
        scaling.main(words)
    assert ended.value.code == 2
