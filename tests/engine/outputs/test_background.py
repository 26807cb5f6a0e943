from __future__ import annotations

import threading
import weakref

import pytest

from engine.outputs.background import Background


def test_one_worker_does_the_tasks_in_order():
    done = []
    with Background("test", waiting=3) as background:
        for number in range(50):
            background.add(done.append, number)
        background.finish()
    assert done == list(range(50))


def test_no_more_tasks_wait_than_allowed():
    class Image:
        pass

    alive: list[weakref.ref[Image]] = []
    most = 0

    def look(image: Image) -> None:
        nonlocal most
        most = max(most, sum(each() is not None for each in alive))

    with Background("test", waiting=3) as background:
        for _ in range(100):
            image = Image()
            alive.append(weakref.ref(image))
            background.add(look, image)
        background.finish()
    assert 1 <= most <= 3 + 2  # and the one being handed over, and the one just done


def test_adding_waits_for_room():
    gate, added = threading.Event(), []
    with Background("test", waiting=2) as background:

        def add_three() -> None:
            for number in range(3):
                background.add(gate.wait, 10)
                added.append(number)

        caller = threading.Thread(target=add_three)
        caller.start()
        caller.join(timeout=0.3)
        assert added == [0, 1]
        gate.set()
        caller.join()
        assert added == [0, 1, 2]


def test_errors_reach_the_caller_with_their_message():
    def fail() -> None:
        raise OSError(28, "No space left on device", "here")

    with pytest.raises(OSError, match="No space left on device: 'here'"), Background("test", waiting=1) as background:
        background.add(fail)
        background.finish()
    with pytest.raises(OSError, match="No space left"), Background("test", waiting=1) as background:
        background.add(fail)
        background.add(print)


def test_leaving_drops_what_has_not_started():
    started, gate, done = threading.Event(), threading.Event(), []

    def first() -> None:
        started.set()
        gate.wait(10)

    with pytest.raises(KeyboardInterrupt), Background("test", waiting=9) as background:
        background.add(first)
        for number in range(5):
            background.add(done.append, number)
        started.wait(10)
        threading.Timer(0.2, gate.set).start()  # when the pool is being left
        raise KeyboardInterrupt
    assert done == []
