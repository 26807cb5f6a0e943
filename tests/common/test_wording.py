from __future__ import annotations

from common.wording import bytes_text, counted, duration, first_and_more


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
