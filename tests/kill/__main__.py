"""Commands killed at chance moments, then repeated: python -m tests.kill COMMAND --count N."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.kill.commands import COMMANDS, Command
from tests.kill.whole import damaged, fingerprint, unfinished

WHOLE, DAMAGED, LEFT, OTHER, FAILED = "whole", "damaged", "leftovers", "other result", "failed"
BAD = (DAMAGED, LEFT, OTHER, FAILED)
MOST_SECONDS = 120.0  # of a command


def kill(
    name: str, count: int, *, seed: int = 0, number: int = signal.SIGKILL, tell: Callable[[str], object] = print
) -> Counter[str]:
    """Kill a command `count` times at moments that the seed decides, and repeat it: how many ended in which way.

    whole: all files were whole after the kill, and after the repetition nothing unfinished was left and the results
    are those of a command that nobody killed.
    """
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        command = COMMANDS[name](Path(folder), patch)
        start = time.monotonic()
        if ended(command.run) != 0:
            raise SystemExit(f"{name}: fails without a kill")
        seconds, wanted = time.monotonic() - start, fingerprint(command.results)
        for index in range(count):
            clear(command)
            moment = random.Random(f"{name} {seed} {index}").uniform(0, seconds)
            ended(command.run, number=number, after=moment)
            outcome, text = judged(command, wanted, cleans_up=number == signal.SIGTERM)
            outcomes[outcome] += 1
            if outcome != WHOLE:
                tell(f"{name} {index}, after {moment:.3f} s: {outcome}: {text}")
    return outcomes


def judged(command: Command, wanted: dict[str, str], *, cleans_up: bool) -> tuple[str, str]:
    """What is left by a kill, and by the command that is repeated after it: an outcome, and its reason.

    cleans_up: the signal is one after which nothing unfinished may be left.
    """
    if cleans_up and (left := unfinished(command.results)):
        return LEFT, f"after the signal: {', '.join(left)}"
    if broken := damaged(command.results):
        return DAMAGED, ", ".join(broken)
    if (code := ended(command.again)) != 0:
        return FAILED, f"exit status {code} when repeated"
    if left := unfinished(command.results):
        return LEFT, ", ".join(left)
    found = fingerprint(command.results)
    differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return (OTHER, ", ".join(differing)) if differing else (WHOLE, "")


def clear(command: Command) -> None:
    """Remove the results of a command."""
    shutil.rmtree(command.results, ignore_errors=True)
    command.prepare()


def ended(run: Callable[[], int], *, number: int = signal.SIGKILL, after: float = MOST_SECONDS) -> int:
    """Run a command in a forked child and send it a signal after some seconds: its status, as of subprocess."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code = 1
        try:
            code = run()
        finally:
            os._exit(code)
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 1 where a kill left anything but whole files that the repeated command completes."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, "all"])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    given = parser.parse_args(arguments)
    bad = 0
    for name in COMMANDS if given.command == "all" else [given.command]:
        number = signal.Signals[f"SIG{given.signal}"]
        outcomes = kill(name, given.count, seed=given.seed, number=number)
        print(f"{name}: {', '.join(f'{outcome} {n}' for outcome, n in outcomes.items())}", flush=True)
        bad += sum(outcomes[outcome] for outcome in BAD)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
