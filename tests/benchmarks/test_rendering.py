"""The times of a rendering."""

from __future__ import annotations

import re

from benchmarks import rendering


def test_every_stage_has_its_time(capsys):
    size = ["--device", "cpu", "--gaussians", "40", "--width", "32", "--height", "24", "--frames", "2"]
    assert rendering.main(size) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "40 Gaussians each, 32x24 px; CPU (" in lines[0]
    rows = [re.split(r" {2,}", line.strip()) for line in lines[2:]]
    assert [row[0] for row in rows] == ["mixture alone", *rendering.STAGES]
    assert all(float(row[1]) > 0 for row in rows) and rows[0][2] == "1.00"
