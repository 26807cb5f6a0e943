"""Reports of the GPU reach the calls they are of, in whatever order calls end. The test plays the GPU."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch
from moegs_rasterizer import RasterizerError
from moegs_rasterizer.cuda import reports
from moegs_rasterizer.cuda.captured import CapturedCall
from moegs_rasterizer.cuda.reports import ROWS, SLOTS, Mailbox, Report
from moegs_rasterizer.cuda.words import MOST_LAYERS, NO_FAULT, NOT_FINITE, VIEW, WORDS

SIZE = (640, 480, 1, 10)


class PlayedMailbox(Mailbox):
    """Of a GPU that runs only when somebody waits for it: a list of calls on their way, by sequence number."""

    on_their_way: ClassVar[dict[int, list[int]]] = {}

    def ended(self, report: Report) -> bool:
        finish(self, report)
        return True


def unpinned_views() -> torch.Tensor:
    return torch.zeros(reports.MOST_CAPTURES, MOST_LAYERS, VIEW, dtype=torch.float64)


@pytest.fixture
def mailbox() -> PlayedMailbox:
    PlayedMailbox.on_their_way.clear()
    gradients = torch.zeros(len(NOT_FINITE), dtype=torch.int64)
    return PlayedMailbox(words=torch.zeros(ROWS, WORDS, dtype=torch.int64), views=unpinned_views(), gradients=gradients)


def finish(mailbox: PlayedMailbox, report: Report) -> None:
    """The GPU runs the call's kernels."""
    mailbox.words[report.slot] = torch.tensor(mailbox.on_their_way.pop(report.sequence))


def send(
    mailbox: PlayedMailbox, *, instances: int = 7, fault: tuple[int, int, str] | None = None, first_layer: int = 0
) -> Report:
    """A call that is on its way. fault: (layer, row, tensor)."""
    sequence, address = mailbox.open()
    report = mailbox.sent(sequence, size=SIZE, first_layer=first_layer, stream=None)
    assert address == mailbox.words[report.slot].data_ptr()
    mailbox.on_their_way[sequence] = said(sequence, instances, fault)
    return report


def watch(mailbox: PlayedMailbox, capacity: int) -> tuple[int, int, CapturedCall]:
    return mailbox.watch(capacity=capacity, layers=2, first_layer=12, size=(64, 48))


def said(sequence: int, instances: int, fault: tuple[int, int, str] | None = None) -> list[int]:
    """A report's words."""
    words = [sequence, *[NO_FAULT] * MOST_LAYERS, instances]
    if fault is not None:
        layer, row, name = fault
        words[1 + layer] = row * 16 + NOT_FINITE.index(name)
    return words


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
    finish(mailbox, report)
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
    finish(mailbox, bad)
    with pytest.raises(RasterizerError, match="layer 0: means"):
        assert mailbox.instances(good) == 11
        mailbox.read()


def test_a_backward_leaves_calls_of_slower_streams_alone(mailbox):
    slow, quick = send(mailbox, instances=3), send(mailbox, instances=11)
    assert mailbox.instances(quick) == 11
    assert slow.instances is None
    assert mailbox.instances(slow) == 3


def test_a_call_whose_kernels_did_not_run_is_an_error(mailbox, monkeypatch):
    report = send(mailbox)
    monkeypatch.setattr(PlayedMailbox, "ended", lambda self, report: True)
    with pytest.raises(RuntimeError, match="without its report"):
        mailbox.instances(report)


def test_a_host_that_waits_long_sleeps(mailbox, monkeypatch):
    report = send(mailbox, instances=11)
    asked: list[float] = []

    def ended(self, report):
        asked.append(time.perf_counter())
        if asked[-1] - asked[0] > 0.05:
            finish(self, report)
        return False

    monkeypatch.setattr(PlayedMailbox, "ended", ended)
    assert mailbox.instances(report) == 11
    assert len(asked) < 500  # without sleep it asks thousands of times


def test_captured_calls_report_each_replay_to_a_row_of_their_own(mailbox):
    for capacity in (100, 200):
        sequence, address, call = watch(mailbox, capacity)
        assert call is mailbox.watched[-1]
        assert address == mailbox.watched[-1].words.data_ptr()
    first, second = mailbox.watched
    second.check()  # before the first replay
    second.words.copy_(torch.tensor(said(sequence, 201)))
    assert (first.instances, first.overflowed, second.instances, second.overflowed) == (0, False, 201, True)
    second.check()
    second.words.copy_(torch.tensor(said(sequence, 3, (1, 40, "sh"))))
    assert not second.overflowed
    with pytest.raises(RasterizerError, match=r"^layer 13: sh .*row 40\b"):
        second.check()
    for _ in range(reports.MOST_CAPTURES):
        watch(mailbox, 5)
    assert len({call.views.data_ptr() for call in mailbox.watched}) == reports.MOST_CAPTURES
    assert len({call.words.data_ptr() for call in mailbox.watched}) == reports.MOST_CAPTURES
    assert mailbox.open()[1] < min(call.words.data_ptr() for call in mailbox.watched)
