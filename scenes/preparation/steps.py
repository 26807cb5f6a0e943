"""Steps of a preparation: skipped where nothing changed, made again where something did, never half there.

A step fills a scratch folder; only when that is whole are its outputs moved to their place, and its record comes last.
The record claims the outputs before the first of them is moved, so that a later run knows them for its own even if
this one is killed in between.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.disk.contained import OutsideError, below, own_folder
from common.disk.leftovers import sweep
from common.disk.locks import folder_lock
from scenes.preparation.records import Record, as_json, outputs_intact, read_record, stamps_of, write_record
from scenes.preparation.report import StepReport
from scenes.types import SceneError

FOLDER = "preparation"  # below the scene's folder: records, and the scratch folders of steps under way
UNFINISHED = "unfinished"  # below FOLDER


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationStep:
    """One piece of work with its inputs and outputs; `options` and the result are JSON types."""

    name: str  # also its record's name
    version: int  # another one makes the outputs of earlier code stale
    inputs: Sequence[Path]
    options: Mapping[str, Any]
    outputs: Sequence[str]  # files and folders below the scene's folder
    make: Callable[[Path], Any]  # puts the outputs below a scratch folder, by the same names; returns the result
    mends_inputs: bool = False  # whether `make` changes its inputs


class Workbench:
    """The runner of one scene's steps; several threads may run different steps."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER
        self.reports: list[StepReport] = []

    def run(self, step: PreparationStep) -> Any:
        """Give the result of a step, made now or earlier.

        SceneError where an input is missing or changes meanwhile, an output is there that no earlier run wrote, or the
        disk is full.
        """
        began = time.perf_counter()
        try:
            inputs = self._stamps_of_inputs(step)
            record = self.record(step.name)
            current = record is not None and self._is_current(record, step, inputs)
            if record is None or not current:
                self._refuse_links(step.outputs)
                self.refuse_strangers(step.outputs)
                record = self._make(step, inputs)
        except OSError as error:
            raise SceneError(_sentence(self.root, step.name, error)) from error
        seconds = time.perf_counter() - began
        self.reports.append(StepReport(name=step.name, outcome="skipped" if current else "done", seconds=seconds))
        return record.result

    def record(self, name: str) -> Record | None:
        """Read the record of a step, also an unfinished one."""
        return read_record(self.folder / f"{name}.json")

    def is_current(self, step: PreparationStep) -> bool:
        """Tell whether `run` would skip a step."""
        record = self.record(step.name)
        return record is not None and self._is_current(record, step, self._stamps_of_inputs(step))

    def recorded(self) -> list[str]:
        """List the steps of this or an earlier run, also unfinished ones, by name."""
        return sorted(path.stem for path in self.folder.glob("[!.]*.json"))  # hidden: what a killed run left

    def owned(self) -> set[str]:
        """List the outputs that steps of this or an earlier run claim."""
        records = [self.record(name) for name in self.recorded()]
        return {name for record in records if record is not None for name in record.outputs}

    def drop(self, name: str) -> None:
        """Remove the outputs of a step, folders that this empties, and last its record."""
        record = self.record(name)
        for path in [self.root / output for output in (record.outputs if record else ())]:
            _clear(path)
            if path.parent != self.root and path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        _clear(self.folder / f"{name}.json")

    def refuse_strangers(self, outputs: Sequence[str]) -> None:
        """Raise SceneError where one of these outputs exists that no run of a preparation wrote."""
        present = [name for name in outputs if os.path.lexists(self.root / name)]
        strangers = sorted(set(present) - self.owned()) if present else []
        if strangers:
            more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
            raise SceneError(
                f"{self.root}: {', '.join(strangers[:3])}{more} would be overwritten, which an earlier preparation did "
                "not write; move it away first"
            )

    def _refuse_links(self, outputs: Sequence[str]) -> None:
        """Raise SceneError where an output would be written out of the scene's folder."""
        try:
            for name in outputs:
                below(self.root, name)
        except OutsideError as error:
            raise SceneError(str(error)) from error

    def _stamps_of_inputs(self, step: PreparationStep) -> list[Any]:
        try:
            return stamps_of(self.root, step.inputs)
        except FileNotFoundError as error:
            raise SceneError(f"{error.filename}: no such file, needed for {step.name}; put it back") from error

    def _is_current(self, record: Record, step: PreparationStep, inputs: Sequence[Any]) -> bool:
        return (
            record.finished
            and record.version == step.version
            and record.options == as_json(dict(step.options))
            and record.inputs == inputs
            and record.outputs == list(step.outputs)
            and outputs_intact(self.root, record)
        )

    def _make(self, step: PreparationStep, inputs: list[Any]) -> Record:
        scratch = self.folder / UNFINISHED / step.name
        try:
            (scratch / "new").mkdir(parents=True)
            result = as_json(step.make(scratch / "new"))
            if step.mends_inputs:
                inputs = stamps_of(self.root, step.inputs)
            elif inputs != stamps_of(self.root, step.inputs):
                raise SceneError(f"{self.root}: the inputs of {step.name} changed while it ran; run it again")
            return self._finish(step, inputs, result, scratch)
        except SceneError as error:
            raise type(error)(str(error).replace(str(scratch / "new"), str(self.root))) from error
        finally:
            _clear(scratch)

    def _finish(self, step: PreparationStep, inputs: list[Any], result: Any, scratch: Path) -> Record:
        path = self.folder / f"{step.name}.json"
        earlier = self.record(step.name)
        stale = [name for name in (earlier.outputs if earlier else ()) if name not in set(step.outputs)]
        claim = Record(
            version=step.version,
            options=as_json(dict(step.options)),
            inputs=inputs,
            outputs=[*step.outputs, *stale],
            stamps=[],
            result=result,
            finished=False,
        )
        write_record(path, claim)
        for name in step.outputs:
            _move(scratch / "new" / name, self.root / name, aside=scratch / "old" / name)
        for name in stale:
            _clear(self.root / name)
        stamps = stamps_of(self.root, [self.root / name for name in step.outputs])
        record = Record(
            version=claim.version,
            options=claim.options,
            inputs=inputs,
            outputs=list(step.outputs),
            stamps=stamps,
            result=result,
            finished=True,
        )
        write_record(path, record)
        return record


@contextmanager
def opened(root: Path) -> Iterator[Workbench]:
    """Hold a scene's workbench, one process at a time; SceneError where the folder is missing or read-only."""
    if not root.is_dir():
        raise SceneError(f"{root}: no such folder; give the folder of the scene")
    bench = Workbench(root)
    with ExitStack() as stack:
        try:
            own_folder(root, FOLDER).mkdir(exist_ok=True)
            stack.enter_context(folder_lock(bench.folder))
            _clear(bench.folder / UNFINISHED)  # of runs that were killed
            sweep(bench.folder)
        except OutsideError as error:
            raise SceneError(str(error)) from error
        except OSError as error:
            raise SceneError(_sentence(root, "the first step", error)) from error
        yield bench


def _move(source: Path, target: Path, *, aside: Path) -> None:
    """Puts a file or folder in its place; a folder that is there cannot be replaced at once, so it goes aside first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(target, aside)
    os.replace(source, target)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sentence(root: Path, step: str, error: OSError) -> str:
    place = error.filename or root
    return f"{place}: {error.strerror or error} ({step}); free space or set the rights of the folder, and run it again"
