"""A pruned run on disk: an ordinary run, with copies of its experts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.disk.files import replacing_folder, write_json
from engine.checks.experts import EXPERT_REPORT
from engine.errors import ConfigError
from engine.evaluation.provenance import model_folder
from engine.runs.opening import new_run
from engine.runs.run import Run
from engine.runs.saved.checkpoint import TENSORS, checkpoint_folder, load_checkpoint, save_checkpoint
from engine.runs.saved.expert_records import ExpertRecord, bundle_folder, record_expert
from engine.runs.saved.kept_rules import rules_to_keep
from engine.runs.saved.loading import HERE, trained_config
from engine.settings.parsing.config_file import read_object, write_config_file
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import RunConfig
from engine.settings.training.train import CONFIG_FILE
from engine.training.router.judge import with_judgement
from engine.training.router.resume import training_state
from engine.training.router.schedule import make_optimiser
from experts import EXPERTS, Expert
from experts.formats.cfg_args import read_cfg_args, write_cfg_args
from experts.windows.saving import save_model
from router import folder_flags, kind_of

logger = logging.getLogger(__name__)

OF_IMAGES: Mapping[str, Any] = {  # of an expert's report: what its images decide, which are others now
    "scores": None,
    "scored_frames": None,
    "seconds_a_frame": None,
    "frames_per_second": None,
    "history": [],
    "hashes": {},
}


def write_run(
    run: Run,
    save_path: Path,
    out: Path,
    *,
    iteration: int,
    overrides: Mapping[str, Any],
    change: Mapping[str, Any],
    packed: Callable[[Path], None] | None = None,
    leave: Callable[[Run, Path], object] | None = None,
) -> Run:
    """Writes a changed run whole or not at all, once what was written can be read; the run as it was read.

    Rules for novel views stay those of the run: of fewer Gaussians others would be found. save_path, iteration: of the
    run that it was. overrides: settings that replace those saved with it, by flag name. change: keys that tell in the
    reports of its experts' trainings what was done. packed: makes an expert's folder smaller; routing weights are then
    written in half precision. leave: writes what else belongs to it, given the run and the folder that becomes `out`.
    """
    earlier = load_checkpoint(checkpoint_folder(save_path, iteration)).experts
    out = out.resolve()  # a link stays
    with replacing_folder(out) as staged:
        folders = {record.name: bundle_folder(record, staged) for record in earlier}
        _write_experts(run.experts, folders, packed)
        written = _reopened(run, _settings(run, save_path, folders, staged, overrides))
        for old, new in zip(run.experts, written.experts, strict=True):
            carry_facts(old, new, change)
        final = {name: out / folder.relative_to(staged) for name, folder in folders.items()}
        records = tuple(_record(each, folders[each.name], staged, final[each.name]) for each in written.experts)
        settings = _settings(run, save_path, final, out, overrides)
        _save_router(written, staged, settings, experts=records, half=packed is not None)
        if leave is not None:
            leave(written, staged)
    for expert, record in zip(written.experts, records, strict=True):
        expert.provenance = replace(expert.provenance, files=tuple(Path(record.folder) / name for name in record.files))
    return written


def _reopened(run: Run, settings: RunConfig) -> Run:
    """What was written, as other commands will read it, with its router; ConfigError where they would refuse it."""
    logger.info("what was written is opened again, as other commands will read it")
    try:
        written = new_run(settings, run.ensemble, rules=rules_to_keep(run.novel))
    except ConfigError as error:
        raise ConfigError(
            f"nothing is written, as no command could open the new run ({error}); where Gaussians were removed, too "
            "few are left: remove fewer"
        ) from error
    written.router.load_state_dict(run.router.state_dict())
    written = replace(written, iteration=run.iteration, training_seconds=run.training_seconds)
    return with_judgement(written, run.judgement)


def _record(expert: Expert, folder: Path, staged: Path, final: Path) -> ExpertRecord:
    """The record of an expert in a folder below `staged`, as it is once that has become the run's."""
    return replace(record_expert(expert, folder, save_path=staged), folder=str(final))


def _save_router(
    written: Run, staged: Path, settings: RunConfig, *, experts: tuple[ExpertRecord, ...], half: bool
) -> None:
    """Saves a run's router and settings in the folder that becomes the run's, as if a training began there."""
    router = written.router
    state = training_state(make_optimiser(router, settings.training), settings.training.seed)
    if half:
        router.features.half()
    place = settings.output.save_path
    saved = save_checkpoint(staged, written, written.iteration, experts=experts, state=state, place=place)
    router.file_bytes = (saved / TENSORS).stat().st_size
    router.eval().requires_grad_(False).float()
    write_config_file(staged / CONFIG_FILE, settings)


def _write_experts(
    experts: Sequence[Expert], folders: Mapping[str, Path], packed: Callable[[Path], None] | None
) -> None:
    """Saves experts in their folders, by name. packed: makes a folder smaller."""
    for expert in experts:
        with torch.no_grad():
            save_model(EXPERTS[kind_of(expert.name)], expert, folders[expert.name], expert.provenance.iteration)
        if packed is not None:
            packed(folders[expert.name])


def _settings(
    run: Run, save_path: Path, folders: Mapping[str, Path], out: Path, overrides: Mapping[str, Any]
) -> RunConfig:
    flags = folder_flags(run.ensemble)
    given: dict[str, Any] = {flags[name]: folder for name, folder in folders.items()} if flags else {}
    if not flags:
        given["expert"] = tuple(f"{kind_of(name)}={folder}" for name, folder in folders.items())
    kept = {name: value for name, value in overrides.items() if name not in (*flags.values(), "expert")}
    trained = trained_config(save_path, layout=run.scene.layout)
    new = {
        "save_path": out,
        "load_iteration": -1,
        "iterations": run.iteration,
        "bundle": False,
        "compress": False,
        "seeds": None,
    }
    return with_values(trained, HERE | kept | given | new)


def carry_facts(old: Expert, new: Expert, change: Mapping[str, Any]) -> None:
    """Gives an expert's files what its training left beside the old ones: settings, and the report.

    change: keys that tell in the report what was done since. What the expert's images decide is left out of it.
    """
    sources, targets = (dict.fromkeys(map(model_folder, each.provenance.files)) for each in (old, new))
    for source, target in zip(sources, targets, strict=True):
        own = read_cfg_args(target) or {}
        write_cfg_args(target, (read_cfg_args(source) or {}) | own)
        if (source / EXPERT_REPORT).is_file():
            write_json(target / EXPERT_REPORT, {**read_object(source / EXPERT_REPORT), **OF_IMAGES, **change})
