"""Ranks: the processes of one job that torchrun started, one for each GPU; a process alone is the only rank.

The state is that of torch.distributed, so it is the process's, not an argument. Small values and waiting go through
gloo, tensors of a GPU through NCCL.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from common.disk.faults import ToldError

if TYPE_CHECKING:  # here, because a process alone needs no torch for --help
    from torch.distributed import Store

Value = TypeVar("Value")

LONGEST_WAIT = timedelta(days=1)  # for a rank that decodes, saves or scores; one that dies is noticed at once
PATIENCE = 0.5  # seconds
WRONG_USE = 2  # exit code
_rank, _count = 0, 1
_apart = False


class RankError(ToldError, RuntimeError):
    """A job of several ranks that cannot begin or go on."""


def rank() -> int:
    """The number of this rank, counted from 0 over all machines."""
    return 0 if _apart else _rank


def count() -> int:
    """Ranks of the job."""
    return 1 if _apart else _count


def is_first() -> bool:
    """True for rank 0, which alone writes and logs."""
    return rank() == 0


def share(items: Sequence[Value]) -> Sequence[Value]:
    """This rank's items: every count-th, so that the ranks' shares alternate."""
    return items[rank() :: count()]


def block(number: int) -> range:
    """This rank's part of 0 ... number - 1: neighbours, so that the ranks' blocks follow one another."""
    first, end = (-(-each * number // count()) for each in (rank(), rank() + 1))  # the first ranks have the odd ones
    return range(first, end)


@contextmanager
def apart() -> Iterator[None]:
    """Lets this process count as a job of its own while the block lasts: trials, and what one rank does alone."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


@contextmanager
def first_then_others() -> Iterator[None]:
    """Lets rank 0 go through the block alone, and then all others, which find what it made."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def wait_for_all() -> None:
    """Waits until all ranks are here; RankError where one died."""
    any_of(False)


def any_of(flag: bool) -> bool:
    """True on all ranks where it is true on one."""
    if count() == 1:
        return flag
    import torch

    value = torch.tensor([flag], dtype=torch.uint8)
    with noticed():
        torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return bool(value.item())


def from_first(value: Value) -> Value:
    """Rank 0's value, on all ranks."""
    if count() == 1:
        return value
    import torch

    values = [value]
    with noticed():
        torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: Value) -> list[Value]:
    """The value of every rank, on all ranks, in their order."""
    if count() == 1:
        return [value]
    import torch

    values: list[Any] = [None] * count()
    with noticed():
        torch.distributed.all_gather_object(values, value)
    return values


def require_equal(digest: str, what: str) -> None:
    """Raises RankError where a hash is not the same on all ranks. what: has it, such as "the models"."""
    digests = gathered(digest)
    if len(set(digests)) > 1:
        found = ", ".join(f"rank {number}: {each[:12]}" for number, each in enumerate(digests))
        raise RankError(
            f"{what} differ between the ranks ({found}), so nothing was saved; use GPUs of one kind, or one rank, and "
            "report it: continue with --resume"
        )


@contextmanager
def noticed() -> Iterator[None]:
    """Turns what a collective raises where another rank has gone into a RankError."""
    try:
        yield
    except RankError:
        raise
    except RuntimeError as error:
        raise RankError(
            "this rank lost another one, which left no message: it was killed, perhaps for memory, or its machine is "
            "gone; a training continues with --resume"
        ) from error


@contextmanager
def job(environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Joins the ranks that torchrun started while the block lasts; does nothing in a process alone.

    Other ranks than 0 print nothing. Of the ranks that fail, the first one's error is raised again, and the others end
    a little later without a word: they only lost it. Where the ranks do not meet, the process ends.
    """
    if int(environment.get("WORLD_SIZE", "1")) == 1 or count() > 1:
        yield
        return
    try:
        store = _join(environment)
    except RankError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(WRONG_USE) from None
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(sys.stdout if is_first() else nowhere):
            yield
        wait_for_all()
    except SystemExit:
        raise
    except BaseException as error:
        if not _is_first_to_fail(store):
            time.sleep(PATIENCE)  # so that torchrun's report names the first one
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None
        if not is_first():
            print(f"rank {_rank} of {_count} ends the job:", file=sys.stderr)
        raise
    finally:
        _leave()


def _join(environment: Mapping[str, str]) -> Store:
    """Takes this rank's GPU, and meets the others."""
    global _rank, _count
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise RankError(
            f"WORLD_SIZE is {environment['WORLD_SIZE']}, and {', '.join(missing)} is not set: start several ranks with "
            "torchrun, or unset WORLD_SIZE"
        )
    import torch

    local, beside = int(environment["LOCAL_RANK"]), int(environment.get("LOCAL_WORLD_SIZE", "1"))
    own_gpu = take_gpu(local, beside)
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun keeps its store when it starts ranks again
    with noticed():
        shared, number, world = next(torch.distributed.rendezvous("env://", timeout=LONGEST_WAIT))
        store = torch.distributed.PrefixStore(f"attempt_{attempt}", shared)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if own_gpu else "gloo",
            store=torch.distributed.PrefixStore("group", store),
            rank=number,
            world_size=world,
            timeout=LONGEST_WAIT,
        )
    _rank, _count = number, world
    return store


def take_gpu(local: int, beside: int) -> bool:
    """Hides all GPUs from this process but that of its rank, before CUDA starts; False where it has none of its own.

    local: number of the rank on its machine, of `beside`. More ranks than GPUs share them, through gloo.
    """
    import torch

    present = torch.cuda.device_count()
    if present == 0:
        return False
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    os.environ["CUDA_VISIBLE_DEVICES"] = (named or list(map(str, range(present))))[local % present]
    return beside <= present and torch.distributed.is_nccl_available()


def _is_first_to_fail(store: Store) -> bool:
    """True for the first rank that asks; one whose store is gone comes after rank 0, which had it."""
    with suppress(RuntimeError):
        return store.add("failed", 1) == 1
    return False


def _leave() -> None:
    global _rank, _count
    import torch

    _rank, _count = 0, 1
    with suppress(RuntimeError):  # the others may be gone
        torch.distributed.destroy_process_group()
