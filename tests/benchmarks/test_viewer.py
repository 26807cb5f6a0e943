"""The pictures a second of the live viewer, and the stages of a picture."""

from __future__ import annotations

import pytest

pytest.importorskip("viser", reason="the viewer needs viser: pip install -r requirements-dev.txt -c constraints.txt")

from benchmarks.viewer import command

pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection")


def test_stages_and_pictures_at_a_browser_are_measured(capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "PORT", 8981)
    sizes = ["--gaussians", "40", "--width", "64", "--height", "36", "--frames", "3"]
    assert command.main(["--device", "cpu", *sizes, "--seconds", "0.3"]) == 0
    said, heading, *lines = capsys.readouterr().out.splitlines()
    assert said.startswith("E4, 40 Gaussians each, 64x36 px; CPU") and heading.startswith("a picture, ms")
    rows, rates = lines[:5], lines[5:]
    assert [row[:34].strip() for row in rows[:3]] == list(command.STAGES)
    numbers = [[float(row[34:].split()[index]) for index in (0, 2)] for row in rows]
    assert all(anew > 0 and kept > 0 for anew, kept in numbers)
    assert numbers[0][1] < numbers[0][0]  # a kept frame is not deformed again
    assert [float(line.split(": ")[1].split()[0]) > 0 for line in rates] == [True, True]
