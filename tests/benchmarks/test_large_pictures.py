from __future__ import annotations

from benchmarks import large_pictures


def test_small_pictures_are_trained_on_and_rendered(capsys):
    size = ["--gaussians", "40", "--width", "40", "--height", "32", "--steps", "2", "--device", "cpu"]
    assert large_pictures.main(size) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("E4: 4 experts of 40 random Gaussians, 40x32 px; ")
    assert lines[1:] == ["router's training: not measured on a CPU", "rendering: not measured on a CPU"]
