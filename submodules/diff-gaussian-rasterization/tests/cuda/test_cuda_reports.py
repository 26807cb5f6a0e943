"""Reports of the GPU reach the calls they are of, in whatever order calls end. The test plays the GPU."""

from __future__ import annotations

import pytest
import torch
from moegs_rasterizer import RasterizerError
from moegs_rasterizer.cuda import reports
from moegs_rasterizer.cuda.reports import MOST_LAYERS, NO_FAULT, NOT_FINITE, SLOTS, WORDS, Mailbox, Report

SIZE = (640, 480, 1, 10)


class Event:
    """Of a stream that runs only when somebody waits for it."""

    def __init__(self) -> None:
        self.finish = lambda: None

    def record(self, stream: object) -> None:
        pass

    def synchronize(self) -> None:
        self.finish()


@pytest.fixture
def mailbox(monkeypatch) -> Mailbox:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    return Mailbox(words=torch.zeros(SLOTS, WORDS, dtype=torch.int64))


def send(
    mailbox: Mailbox, *, instances: int = 7, fault: tuple[int, int, str] | None = None, first_layer: int = 0
) -> Report:
    """A call that is on its way: its event's `synchronize` lets it end. fault: (layer, row, tensor)."""
    words, sequence = mailbox.open()
    report = mailbox.sent(sequence, size=SIZE, first_layer=first_layer, device=torch.device("cpu"))
    said = [sequence, *[NO_FAULT] * MOST_LAYERS, instances]
    if fault is not None:
        layer, row, name = fault
        said[1 + layer] = row * 16 + NOT_FINITE.index(name)
    report.event.finish = lambda: words.copy_(torch.tensor(said))
    return report


def test_room_rises_at_once_and_falls_slowly(mailbox):
    assert mailbox.capacity(SIZE, 10_000) == 10_000 * reports.FIRST_GUESS
    mailbox.instances(send(mailbox, instances=200_000))
    assert 200_000 < mailbox.capacity(SIZE, 10_000) < 400_000
    mailbox.instances(send(mailbox, instances=3))
    assert 200_000 < mailbox.capacity(SIZE, 10_000) < 400_000
    for _ in range(1000):
        mailbox.instances(send(mailbox, instances=3))
    assert mailbox.capacity(SIZE, 10_000) == reports.LEAST_CAPACITY
    assert mailbox.capacity((1, 1, 1, 1), 10_000) == 10_000 * reports.FIRST_GUESS
    assert mailbox.capacity((1, 1, 1, 1), 2**31) == reports.MOST_INSTANCES


def test_sizes_remembered_are_bounded(mailbox):
    for width in range(3 * reports.MOST_SIZES):
        report = send(mailbox)
        report.size = (width, 480, 1, 10)
        mailbox.instances(report)
    assert len(mailbox.known) <= reports.MOST_SIZES


def test_nobody_waits_for_the_gpu(mailbox):
    sent = [send(mailbox) for _ in range(SLOTS)]
    assert all(report.instances is None for report in sent)
    send(mailbox)  # no room for one more: the first has to end
    assert sent[0].instances == 7


def test_the_next_call_raises_what_the_gpu_found_and_the_one_after_does_not(mailbox):
    report = send(mailbox, fault=(2, 17, "quats"), first_layer=12)
    send(mailbox)
    report.event.synchronize()
    with pytest.raises(RasterizerError, match=r"^layer 14: quats .*row 17\b"):
        mailbox.open()
    mailbox.open()


def test_the_backward_raises_what_the_gpu_found_every_time(mailbox):
    report = send(mailbox, fault=(0, 5, "means"))
    for _ in range(2):
        with pytest.raises(RasterizerError, match="layer 0: means"):
            mailbox.instances(report)


def test_a_good_backward_does_not_swallow_the_error_of_an_earlier_call(mailbox):
    bad, good = send(mailbox, fault=(0, 5, "means")), send(mailbox, instances=11)
    bad.event.synchronize()
    with pytest.raises(RasterizerError, match="layer 0: means"):
        assert mailbox.instances(good) == 11
        mailbox.read()


def test_a_backward_leaves_calls_of_slower_streams_alone(mailbox):
    slow, quick = send(mailbox, instances=3), send(mailbox, instances=11)
    assert mailbox.instances(quick) == 11
    assert slow.instances is None
    assert mailbox.instances(slow) == 3
