"""Damaged files of a kind, each read in a child with limits: python -m tests.fuzz KIND … --count N."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.forked import OUTCOMES, READ, REFUSED, Outcome, forked
from tests.fuzz.kinds import CHECKED, KINDS
from tests.fuzz.mutations import mutated
from tests.fuzz.samples import Maker
from tests.fuzz.values import values_hash

SECONDS = 10.0
MEMORY = 1 << 30  # bytes beyond four times the input
OUTSIDE = "outside"  # something beside the sample was written or deleted
CHANGED = "changed"  # read, with other values than the good file has
WRONG = "wrong"  # the same, in a format that can tell
SOUND = (READ, CHANGED, REFUSED)
Tree = dict[str, tuple[int, int]]


def fuzz(
    kind: str, make: Maker, count: int, *, checked: bool, seed: int = 0, tell: Callable[[str], object] = print
) -> Counter[str]:
    """Read `count` damaged files of a kind: how many ended in which way. The same seed gives the same files.

    checked: the format can tell other values from those that were written.
    """
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder, outside = Path(name) / "sample", Path(name) / "outside"
        folder.mkdir()
        (outside / "kept").mkdir(parents=True)
        (outside / "kept" / "file").write_text("kept")
        sample = make(folder)
        good, around = sample.file.read_bytes(), tree(outside)

        def work() -> str:
            return values_hash(sample.read())

        first = forked(work, seconds=6 * SECONDS)
        if first.kind != (REFUSED if sample.refused else READ):
            raise SystemExit(f"{kind}: the good file ends in {first.kind}: {first.text}")
        for number in range(count):
            rng = random.Random(f"{kind} {seed} {number}")
            sample.file.unlink(missing_ok=True)  # a mapped file must not shrink under its reader
            damaged = mutated(good, rng)
            sample.file.write_bytes(damaged)
            outcome = forked(work, seconds=SECONDS, extra_bytes=4 * len(damaged) + MEMORY)
            if outcome.kind == READ and outcome.text != first.text:
                outcome = Outcome(kind=WRONG if checked else CHANGED, text="other values than the good file's")
            if tree(outside) != around:
                outcome = Outcome(kind=OUTSIDE, text="the folder beside the sample has changed")
            outcomes[outcome.kind] += 1
            if outcome.kind not in SOUND:
                tell(f"{kind} {number}: {outcome.kind}: {outcome.text.strip()}")
    return outcomes


def tree(folder: Path) -> Tree:
    """Size and modification time of everything below a folder."""
    states = {str(path): path.lstat() for path in sorted(folder.rglob("*"))}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 1 where a file ended in another way than being read or refused in one line, or was read wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", nargs="+", choices=[*KINDS, "all"])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    bad = 0
    for kind in KINDS if "all" in given.kind else given.kind:
        outcomes = fuzz(kind, KINDS[kind], given.count, checked=kind in CHECKED, seed=given.seed)
        shown = ", ".join(f"{name} {outcomes[name]}" for name in (CHANGED, WRONG, *OUTCOMES, OUTSIDE) if outcomes[name])
        print(f"{kind}: {shown}", flush=True)
        bad += given.count - sum(outcomes[name] for name in SOUND)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
