"""Functions run as the ranks of one job, in forked children: the packages are imported once, in the parent."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ranks

SECONDS = 60  # after which a rank is killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of a rank: what its work returned, its exit code, and what it printed."""

    value: Any
    code: int
    said: str  # standard output, then standard error


def on_ranks(work: Callable[[], object], *, count: int = 2, is_command: bool = False) -> list[Any]:
    """The values that work returns on each rank, once all have done it without an error."""
    ended = ends_of(work, count=count, is_command=is_command)
    assert all(each.code == 0 for each in ended), "\n".join(each.said for each in ended)
    return [each.value for each in ended]


def ends_of(work: Callable[[], object], *, count: int = 2, is_command: bool = False) -> list[Ended]:
    """How each rank ended that ran work; it need not end well. is_command: work joins the job itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        children = [_child(work, rank, count, port, Path(folder), is_command) for rank in range(count)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        return [_ended(Path(folder), rank, code) for rank, code in enumerate(codes)]


def _child(work: Callable[[], object], rank: int, count: int, port: int, folder: Path, is_command: bool) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(SECONDS)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        with open(folder / f"{rank}.txt", "w", buffering=1, encoding="utf-8") as said:
            for number in (1, 2):
                os.dup2(said.fileno(), number)
            sys.stdout = sys.stderr = said
            logging.getLogger().handlers.clear()  # of commands that earlier tests ran here: their streams are closed
            try:
                with nullcontext() if is_command else ranks.job():
                    value = work()
                (folder / f"{rank}.pickle").write_bytes(pickle.dumps(value))
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc(file=said)
    finally:
        os._exit(code)


def _ended(folder: Path, rank: int, code: int) -> Ended:
    pickled = folder / f"{rank}.pickle"
    value = pickle.loads(pickled.read_bytes()) if pickled.is_file() else None
    return Ended(value=value, code=code, said=(folder / f"{rank}.txt").read_text(encoding="utf-8"))
