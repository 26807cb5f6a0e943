"""Ranks that agree, add up, fail and are killed: two processes on the CPU."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from torch import nn

import moegs
from common import ranks
from common.collectives import MANY, WIDE, add_up, add_up_gradients, handed_out, mean_over_ranks
from engine.errors import ConfigError
from engine.settings.parsing.command_line import exit_code, set_up_logging
from tests.on_ranks import ends_of, on_ranks


def test_a_process_alone_is_the_only_rank() -> None:
    assert (ranks.rank(), ranks.count(), ranks.is_first()) == (0, 1, True)
    assert ranks.from_first("a") == "a" and ranks.gathered(1) == [1] and ranks.any_of(True)
    assert ranks.share([1, 2, 3]) == [1, 2, 3] and ranks.block(3) == range(3)
    with ranks.job({"WORLD_SIZE": "1"}), ranks.first_then_others():
        ranks.wait_for_all()


def test_ranks_of_torchrun_need_its_variables(capsys) -> None:
    with pytest.raises(SystemExit) as ended, ranks.job({"WORLD_SIZE": "2"}):
        pass
    assert ended.value.code == 2
    assert (
        "error: WORLD_SIZE is 2, and RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set" in capsys.readouterr().err
    )


def agree() -> dict[str, object]:
    own = ranks.rank()
    learned, shared, never = (nn.Parameter(torch.ones(2, 3)) for _ in range(3))
    if own == 1:
        learned.grad = torch.full((2, 3), 5.0)
    shared.grad = torch.full((3, 2), float(own + 1)).T
    table = nn.Parameter(torch.ones(MANY, WIDE // 2, 2))
    table.grad = torch.zeros_like(table)
    table.grad[7 + own, 1, own] = 3.0 + own  # rows and columns of their own, and one in common
    table.grad[MANY - 1, 2] = 1.0
    add_up_gradients([learned, table, shared, never])
    value = torch.tensor([own + 0.5])
    add_up([value])
    given = torch.tensor([own, own])
    handed_out([given], source=1)
    with ranks.apart():
        alone = (ranks.count(), ranks.gathered(own))
    with pytest.raises(ranks.RankError, match="the models differ between the ranks"):
        ranks.require_equal(str(own), "the models")
    ranks.require_equal("same", "the models")
    print(f"rank {own} prints")
    return {
        "own": (own, ranks.count(), list(ranks.share("abcde")), ranks.block(5)),
        "gradients": (learned.grad.tolist(), shared.grad.tolist(), never.grad),
        "table": (table.grad.nonzero().tolist(), table.grad[table.grad != 0].tolist()),
        "sums": (value.tolist(), mean_over_ranks([own, 4.0]), given.tolist()),
        "values": (ranks.from_first(own), ranks.gathered(own), ranks.any_of(own == 1), ranks.any_of(False)),
        "alone": alone,
    }


def test_ranks_agree_and_only_the_first_prints() -> None:
    first, second = ends_of(agree)
    assert (first.code, second.code) == (0, 0), first.said + second.said
    assert first.value.pop("own") == (0, 2, ["a", "c", "e"], range(3))
    assert second.value.pop("own") == (1, 2, ["b", "d"], range(3, 5))
    assert first.value.pop("alone") == (1, [0]) and second.value.pop("alone") == (1, [1])
    assert first.value == second.value
    assert first.value["gradients"] == ([[5.0] * 3] * 2, [[3.0] * 3] * 2, None)
    last = MANY - 1
    assert first.value["table"] == ([[7, 1, 0], [8, 1, 1], [last, 2, 0], [last, 2, 1]], [3.0, 4.0, 2.0, 2.0])
    assert first.value["sums"] == ([2.0], [0.5, 4.0], [1, 1])
    assert first.value["values"] == (0, [0, 1], True, False)
    assert first.said == "rank 0 prints\n" and second.said == ""


def fail() -> None:
    with exit_code(()) as code:
        set_up_logging(quiet=False)
        if ranks.rank() == 1:
            raise ConfigError("cam07 is missing")
        ranks.wait_for_all()
    raise SystemExit(code.value)


def test_a_rank_that_fails_ends_the_job_with_its_message() -> None:
    first, second = ends_of(fail, is_command=True)
    assert (first.code, first.said) == (1, "")
    assert (second.code, second.said) == (2, "rank 1 of 2 ends the job:\nerror: cam07 is missing\n")


def be_killed() -> None:
    with exit_code(()) as code:
        ranks.wait_for_all()
        if ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait_for_all()
    raise SystemExit(code.value)


def test_a_rank_that_is_killed_ends_the_others() -> None:
    begun = time.monotonic()
    first, second = ends_of(be_killed, is_command=True)
    assert second.code == -signal.SIGKILL and first.code == 2
    assert "error: this rank lost another one, which left no message" in first.said
    assert time.monotonic() - begun < 20


def test_commands_that_do_not_share_their_work_refuse_ranks() -> None:
    def work() -> int:
        return moegs.main(["verify", "somewhere"])

    first, second = ends_of(work, is_command=True)
    assert {first.value, second.value} == {2, None}
    assert (first.said + second.said).count("error: verify runs as one process: start it without torchrun") == 1
    assert on_ranks(ranks.rank) == [0, 1]
