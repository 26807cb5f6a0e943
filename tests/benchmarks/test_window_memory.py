"""The benchmark of windows trains and renders an expert of each number of windows."""

from __future__ import annotations

import re

from benchmarks import window_memory


def test_a_row_for_each_number_of_windows(capsys, monkeypatch):
    monkeypatch.setattr(window_memory, "WARM_UP", 1)
    size = ["--device", "cpu", "--gaussians", "30", "--width", "32", "--height", "24", "--steps", "1", "--frames", "2"]
    assert window_memory.main(["--windows", "1", "3", *size]) == 0
    rows = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:3]] == [["1", "60"], ["3", "180"]]
    assert all(float(speed) > 0 for row in rows[1:3] for speed in row[2:])
