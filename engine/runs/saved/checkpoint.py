"""A trained router on disk: `<save_path>/router/iteration_N/{router.safetensors, router.json}`, experts by hash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from common.disk.contained import own_folder
from common.disk.faults import reading, writing
from common.disk.files import read_json, replacing_folder, write_json
from common.disk.moved import way_from
from common.disk.sealed import HASH, is_as_written, sealed
from common.maths.tensors import tensors_hash
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.runs.saved.expert_records import ExpertRecord
from engine.runs.saved.judgement import Judgement
from engine.runs.saved.kept_rules import KeptRules, rules_to_keep
from engine.runs.saved.router_tensors import fill, named_tensors, read_tensors
from engine.runs.saved.scene_record import scene_facts
from engine.runs.saved.seeds import require_one_run
from experts.base import CheckpointError
from router import Router

_FORMAT = 1
_AGAIN = "start again with --overwrite"
TENSORS, FACTS, STATE = "router.safetensors", "router.json", "training_state.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRouter:
    """A checkpoint as read: the router, and what router.json says of its surroundings."""

    folder: Path
    iteration: int
    ensemble: str
    router: Router
    experts: tuple[ExpertRecord, ...]
    scene: Mapping[str, Any]
    training_seconds: float | None = None  # so far; None: not recorded
    judgement: Judgement | None = None
    rules: KeptRules | None = None  # for novel views; None: an earlier version keeps none


def saved_iterations(save_path: Path) -> tuple[int, ...]:
    """Iterations with a checkpoint below a run's folder, ascending."""
    matches = (re.fullmatch(r"iteration_(\d+)", folder.name) for folder in (save_path / "router").glob("iteration_*"))
    return tuple(sorted(int(match[1]) for match in matches if match))


def checkpoint_folder(save_path: Path, iteration: int | None = None) -> Path:
    """The folder of a saved iteration, None the newest; ConfigError naming those that exist where it does not."""
    saved = saved_iterations(save_path)
    if not saved:
        require_one_run(save_path)
        raise ConfigError(
            f"{save_path}: holds no trained router (router/iteration_N); train it first, or check the path"
        )
    chosen = saved[-1] if iteration is None else iteration
    if chosen not in saved:
        raise ConfigError(f"{save_path}: iteration {chosen} was not saved; available: {', '.join(map(str, saved))}")
    return save_path / "router" / f"iteration_{chosen}"


def saved_ensemble(save_path: Path, iteration: int | None = None) -> str:
    """The name of a saved run's ensemble; no tensors are read. ConfigError or CheckpointError as of loading it."""
    path = checkpoint_folder(save_path, iteration) / FACTS
    with _readable(path):
        return str(read_json(path)["ensemble"])


def saved_experts(save_path: Path, iteration: int | None = None) -> tuple[str, ...]:
    """The names of a saved run's experts; no tensors are read. ConfigError or CheckpointError as of loading it."""
    path = checkpoint_folder(save_path, iteration) / FACTS
    with _readable(path):
        return tuple(str(entry["name"]) for entry in read_json(path)["experts"])


def saved_records(save_path: Path, iteration: int | None = None) -> tuple[ExpertRecord, ...]:
    """The records of a saved run's experts; no tensors are read. ConfigError or CheckpointError as of loading it."""
    path = checkpoint_folder(save_path, iteration) / FACTS
    with _readable(path):
        return tuple(ExpertRecord.from_json(entry) for entry in read_json(path)["experts"])


def save_checkpoint(
    save_path: Path,
    run: Run,
    iteration: int,
    *,
    experts: tuple[ExpertRecord, ...],
    state: Mapping[str, Tensor],
    place: Path | None = None,
) -> Path:
    """Writes a checkpoint whole or not at all, then drops the training state of older ones; returns its folder.

    place: where the run's folder will stand; None: where it is written.
    """
    folder = own_folder(save_path, "router", f"iteration_{iteration}")
    tensors = {name: tensor.cpu() for name, tensor in named_tensors(run.router).items()}
    with writing(folder, SafetensorError), replacing_folder(folder) as temporary:
        save_file(tensors, temporary / TENSORS)
        save_file(dict(state), temporary / STATE)
        facts = _facts(run, iteration, experts, tensors_hash(tensors)) | {"state": tensors_hash(state)}
        facts["scene"] |= {"beside": way_from(place or save_path, run.scene.root)}
        facts = read_json(write_json(temporary / FACTS, facts))  # as it will be read
        write_json(temporary / FACTS, sealed(facts))
    for older in folder.parent.glob(f"iteration_*/{STATE}"):
        if older.parent != folder:
            older.unlink()
    return folder


def load_checkpoint(folder: Path) -> SavedRouter:
    """Reads a checkpoint; CheckpointError naming the file that is missing, damaged or of another version."""
    path = folder / FACTS
    with _readable(path):
        facts = read_json(path)
        if facts["format"] != _FORMAT:
            raise CheckpointError(
                f"{path}: format {facts['format']}, this version reads {_FORMAT}; use the one it is from"
            )
        records = tuple(ExpertRecord.from_json(entry) for entry in facts["experts"])
        if facts["iteration"] != int(folder.name.removeprefix("iteration_")):  # results are written by this number
            raise ValueError(f"iteration is {facts['iteration']!r}")
        _check_numbers(facts, path)
        tensors = read_tensors(folder / TENSORS)
        for record in records:  # before tables of as many rows are made
            table = tensors.get(f"{record.name}.static")
            if table is None or len(table) != record.gaussians:
                raise _other_tensors(folder / TENSORS)
        router = Router(
            [record.name for record in records],
            [record.gaussians for record in records],
            kind=facts["rgbfunction"],
            cues=facts.get("cues", False),
            temperature=facts["temperature"],
            eval_temperature=facts["eval_temperature"],
        )
        if not fill(router, tensors, expected_hash=facts["tensors"]):
            raise _other_tensors(folder / TENSORS)
        router.file_bytes = (folder / TENSORS).stat().st_size
        return SavedRouter(
            folder=folder,
            iteration=facts["iteration"],
            ensemble=facts["ensemble"],
            router=router,
            experts=records,
            scene=facts["scene"],
            training_seconds=facts.get("training_seconds"),
            judgement=Judgement.from_json(facts.get("judge")),
            rules=KeptRules.from_json(facts.get("novel_views")),
        )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what reading router.json raises into a CheckpointError."""
    try:
        with reading(path, "damaged", CheckpointError, advice="use another iteration"):
            yield
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; the checkpoint is incomplete, use another iteration") from None


def _check_numbers(facts: Mapping[str, Any], path: Path) -> None:
    """Raises CheckpointError naming the key where the facts are not those that were written, or out of range."""
    if not is_as_written(facts):
        raise CheckpointError(
            f"{path}: changed since it was written; use another iteration, or remove {HASH!r} from it if the change is "
            "yours"
        )
    for key in ("temperature", "eval_temperature"):
        check_number(facts[key], 1e-6, 1e6, f"{path}: {key}")
    seconds = facts.get("training_seconds")
    if seconds is not None:
        check_number(seconds, 0, 1e12, f"{path}: training_seconds")


def check_number(value: Any, low: float, high: float, place: str) -> None:
    """Raises CheckpointError where a value of a file is no number from low to high. place: "file: key"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise CheckpointError(
            f"{place} is {value!r}, a number from {low:g} to {high:g} expected; use another iteration"
        )


def check_state(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError where a training state is not the one that router.json beside it was written with.

    One of an earlier version records none.
    """
    path = folder / FACTS
    with _readable(path):
        recorded = read_json(path).get("state")
    if recorded not in (None, tensors_hash(state)):
        raise CheckpointError(f"{folder / STATE}: damaged (not the state that {FACTS} beside it describes); {_AGAIN}")


def _other_tensors(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: not the tensors that {FACTS} beside it describes; use another iteration")


def _facts(run: Run, iteration: int, experts: tuple[ExpertRecord, ...], tensors: str) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "iteration": iteration,
        "ensemble": run.ensemble.name,
        "rgbfunction": run.router.head_kind,
        "cues": run.router.cues is not None,
        "temperature": run.router.temperature,
        "eval_temperature": run.router.eval_temperature,
        "experts": [record.to_json() for record in experts],
        "scene": scene_facts(run),
        "training_seconds": run.training_seconds,
        "judge": run.judgement.to_json() if run.judgement else None,
        "novel_views": rules_to_keep(run.novel).to_json(),
        "tensors": tensors,
    }
