from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from common.text.wording import (
    ROOT,
    bytes_text,
    counted,
    duration,
    file_size_text,
    first_and_more,
    script_command,
    shell,
)


def test_only_one_is_singular():
    assert [counted(n, "frame") for n in (0, 1, 2, 2430)] == ["0 frames", "1 frame", "2 frames", "2,430 frames"]


def test_durations_are_for_people():
    assert [duration(s) for s in (4, 89, 100, 3590, 11100)] == ["4 s", "89 s", "2 min", "1 h 00 min", "3 h 05 min"]


def test_others_are_counted():
    assert [first_and_more(names) for names in (["a"], ["a", "b", "c"])] == ["a", "a and 2 more"]


def test_amounts_of_memory_are_for_people():
    assert [bytes_text(n) for n in (0, 16_100_000, 999_000_000, 25_900_000_000)] == [
        "0.0 MB",
        "16.1 MB",
        "999.0 MB",
        "25.9 GB",
    ]


def test_small_files_have_hundredths():
    assert [file_size_text(n) for n in (30_000, 1_004_000, 16_140_000)] == ["0.03 MB", "1.00 MB", "16.1 MB"]


@pytest.mark.parametrize("path", ["data/plain", "data/my film", "it's (a) ühm", 'a "b" $HOME `c`', "--flag", "a  b\tc"])
def test_a_shell_reads_the_words_of_a_command_line(path):
    line = shell("--save_path", Path(path), "--iteration", 3)
    assert shlex.split(line) == ["--save_path", path, "--iteration", "3"]
    assert "\n" not in line


def test_plain_words_stay_as_they_are():
    assert shell("--stg_path", "output/stg_1.2") == "--stg_path output/stg_1.2"


def test_scripts_are_found_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert script_command("moegs.py", "render", "--save_path", "a b") == "python moegs.py render --save_path 'a b'"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(script_command("moegs.py", "render")) == ["python", str(ROOT / "moegs.py"), "render"]
    assert (ROOT / "moegs.py").is_file()
