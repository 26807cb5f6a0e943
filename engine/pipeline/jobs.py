"""A job: a command of this repository for one scene, its log, and how it is known that it was done before."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common.disk.contained import not_followed
from common.disk.files import replacing
from common.text.wording import ROOT, script_command, shell

IDLE = ("--cache_path", "--cache_mb")  # flags that change no result, only where and how frames are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A step of a scene. It is done when its results are there and the same command, but for idle flags, ended well."""

    scene: str
    step: str  # the stem of its files in logs/
    words: tuple[object, ...]  # script and arguments
    folder: Path  # of the scene's results
    results: tuple[Path, ...]  # one of them is left by the step; each may have * in its parts below its folder
    after: tuple[str, ...] = ()  # steps of the scene that it builds on, also those that a plan leaves out
    idle: tuple[str, ...] = IDLE  # flags of its command with values that change no result

    @property
    def log(self) -> Path:
        """The file that takes the command's output."""
        return self.folder / "logs" / f"{self.step}.log"

    @property
    def record(self) -> Path:
        """The file with the command, once it ended well."""
        return self._record_of(self.step)

    @property
    def command(self) -> str:
        """The command as one can paste it into a shell."""
        return script_command(*self.words)

    def has_results(self) -> bool:
        """True where what the step leaves is there."""
        return any(any(_matches(path)) for path in self.results)

    def is_done(self) -> bool:
        """True where there is nothing to do."""
        told = self.record.read_text(encoding="utf-8") if self.record.is_file() else ""
        return _deciding(told, self.idle) == _deciding(self._told(), self.idle) and self.has_results()

    def is_current(self) -> bool:
        """True where it is done, and no step that it builds on was done after it: also by another call."""
        if not self.is_done():
            return False
        done = _changed(self.record)
        return all(_changed(self._record_of(step)) <= done for step in self.after)

    def mark_done(self) -> None:
        """Records that the command ended well."""
        with replacing(self.record) as temporary:
            temporary.write_text(self._told(), encoding="utf-8")
        latest = max((_changed(self._record_of(step)) for step in self.after), default=0)
        if latest > _changed(self.record):  # by another machine's clock
            os.utime(self.record, ns=(latest, latest))

    def _told(self) -> str:
        return f"{shell(*self.words)}\n"

    def _record_of(self, step: str) -> Path:
        return self.folder / "logs" / f"{step}.done"


def _deciding(told: str, idle: Sequence[str]) -> list[str] | None:
    """The words of a recorded command but for idle flags and their values; None where the record is damaged."""
    try:
        words = shlex.split(told)
    except ValueError:
        return None
    values = {place + 1 for place, word in enumerate(words) if word in idle}
    return [word for place, word in enumerate(words) if place not in values and word.split("=")[0] not in idle]


def _changed(record: Path) -> int:
    """When a record was written, nanoseconds; 0 where there is none. Equal times tell no order: nothing is older."""
    return record.stat().st_mtime_ns if record.is_file() else 0


def _matches(path: Path) -> list[Path]:
    fixed = next((parent for parent in path.parents if "*" not in str(parent)), path)
    return sorted(fixed.glob(str(path.relative_to(fixed))))


class Process(Protocol):
    """A command under way."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        ...

    def interrupt(self) -> None:
        """Asks it to save and end."""
        ...


class CommandProcess:
    """A job's command as a process of its own, out of reach of this terminal's Ctrl-C, which would count twice.

    gpu: the one that it sees; None: those of this process.
    """

    def __init__(self, job: Job, gpu: str | None) -> None:
        script, *arguments = map(str, job.words)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "a", encoding="utf-8", opener=not_followed) as log:
            print(f"$ {job.command}", file=log, flush=True)
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Asks it to save and end."""
        self._process.send_signal(signal.SIGINT)
