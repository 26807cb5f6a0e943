"""A trained run opened again, from its folder and the scene."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.disk.moved import place_now
from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.runs.experts.loading import open_expert
from engine.runs.experts.pictures import decode_pictures
from engine.runs.opening import assemble, checked_device
from engine.runs.own_cache import own_cache
from engine.runs.run import Run
from engine.runs.saved.checkpoint import SavedRouter, checkpoint_folder, load_checkpoint
from engine.runs.saved.expert_records import find_expert, record_expert, recorded_iteration, require_same_files
from engine.runs.saved.scene_record import check_same_scene
from engine.runs.scene import CheckScene, any_scene, open_scene
from engine.settings.parsing.config_file import read_object, settings_of_object
from engine.settings.parsing.earlier import unsaved_rules, unsaved_settings
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import BY_NAME, folder_argument, folders_by_name, named_expert
from engine.settings.training.run import AnyRunConfig, RunConfig
from engine.settings.training.train import CONFIG_FILE
from experts import Expert
from router import ENSEMBLES, Ensemble, ensemble_of, folder_flags, kind_of
from router.novel_views import NovelViews
from router.router import Router, subset
from scenes import Scene, needed_views
from scenes.options import Needed

logger = logging.getLogger(__name__)

HERE = {"device": "auto", "backend": "auto"}  # a run trained on a GPU is rendered anywhere


def load_run(
    save_path: Path,
    *,
    iteration: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    needed: Needed = "all",
    check: CheckScene = any_scene,
    flag: str | None = None,
) -> Run:
    """The run of a saved iteration (None: the newest), ready to render; Run.iteration says which.

    Settings are those it was trained with, from `<save_path>/config.json`; `overrides` replaces some by flag name,
    where not None: source_path, the experts' folders, eval_temperature and so on; `without` names experts to leave out.
    Device and back-end are those of this machine, unless given. Frames of the `needed` views are decoded once
    everything else is checked. check: raises where the scene does not have what is asked of it, before an expert is
    loaded. flag: by which the command takes folders of experts by name, for errors; None: those of the run's script,
    unless `overrides` has folders by name. Raises ConfigError, CheckpointError, SceneError or RasterizerError.
    """
    saved = load_checkpoint(checkpoint_folder(save_path, iteration))
    given = _given(overrides or {})
    named, left_out = given.pop("expert", None), given.pop("without", ())
    share = given.pop("towards_mean", saved.judgement.towards_mean if saved.judgement else 0.0)
    flags = folder_flags(_ensemble(saved))
    flag = flag or (BY_NAME if named is not None or not flags else None)
    moved = {name: given[own] for name, own in flags.items() if own in given}
    moved |= folders_by_name(named or (), [record.name for record in saved.experts])
    config = _config(saved, given, save_path)
    saved, ensemble = _without(saved, left_out)
    compute = checked_device(config.machine)
    folders = _find_experts(saved, moved, save_path=save_path, flag=flag)
    scene = open_scene(config, ensemble)
    check(scene)
    experts = _reopen(config, scene, saved, folders, save_path=save_path, device=compute.device, flag=flag)
    router = _frozen(saved.router, temperature=given.get("eval_temperature"))
    rules = None if left_out else saved.rules  # those of all experts are not those of some
    run = assemble(config, ensemble, compute=compute, scene=scene, experts=experts, router=router, rules=rules)
    check_same_scene(saved.scene, run)
    scene.frames.prepare(needed_views(scene, needed))  # after all that can refuse: decoding takes minutes
    if needed != "none":
        decode_pictures(experts)
    run = replace(run, iteration=saved.iteration, training_seconds=saved.training_seconds, judgement=saved.judgement)
    return replace(run, novel=_shrunk(run.novel, share))


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides that replace a setting of the training."""
    given = {name: value for name, value in overrides.items() if value is not None}
    if not given.get("deterministic"):  # a switch: off is as the run was trained
        given.pop("deterministic", None)
    return given


def _config(saved: SavedRouter, given: Mapping[str, Any], save_path: Path) -> RunConfig:
    """The settings of a run's training, with those of this machine and what was given instead; its scene is found."""
    trained = trained_config(save_path, layout=saved.scene["layout"])
    config = with_values(trained, {**HERE, **given, "save_path": save_path})
    if "source_path" in given:
        return config
    return with_values(config, {"source_path": scene_folder(config.data.source_path, saved, save_path)})


def _frozen(router: Router, *, temperature: float | None) -> Router:
    """A router as it renders. temperature: of its gates; None: its own."""
    if temperature is not None:
        router.eval_temperature = temperature
    return router.eval().requires_grad_(False)


def _shrunk(novel: NovelViews, share: float) -> NovelViews:
    """The rules with a share of the uniform mean in the gates, which is told to the log."""
    if share:
        logger.info("novel views: gates are shrunk by %.2f towards equal ones", share)
    return replace(novel, towards_mean=share)


def overrides_of_results(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides with which `load_run` gives a run as it was when results were made; facts: of metrics.json.

    Results that do not say had no rules for novel views.
    """
    return {
        "eval_temperature": facts.get("temperature"),
        "novel_near": facts.get("novel_near") or 0.0,
        "coverage_guard": "on" if facts.get("coverage_guard") else "off",
        "towards_mean": facts.get("towards_mean") or 0.0,
        "fill_holes": "on" if facts.get("fill_holes") else "off",
        "network_precision": facts.get("network_precision"),
    }


def trained_config(save_path: Path, *, layout: str | None = None) -> RunConfig:
    """The settings that a run was trained with, from its config.json. layout: of its scene, None to guess it."""
    path = save_path / CONFIG_FILE
    content = read_object(path)
    defaults = AnyRunConfig() if "expert" in content else RunConfig()
    settings = settings_of_object(content, type(defaults), path)
    rules = unsaved_rules(content)
    if rules:
        logger.info(
            '%s is of a run saved before there were rules for novel views: none hold; "novel_near": null and '
            '"coverage_guard": "on" in it set them',
            path,
        )
    own = {"cache_path": own_cache(save_path, settings.get("cache_path"))}
    return with_values(defaults, unsaved_settings(content, layout=layout) | rules | settings | own)


def scene_folder(recorded: Path | None, saved: SavedRouter, save_path: Path) -> Path | None:
    """The scene's folder: the recorded one, else where it lay beside the run, as a tree is moved as a whole."""
    way = saved.scene.get("beside")
    if recorded is None or not isinstance(way, str):
        return recorded
    return place_now(recorded, folder=save_path, way=way)


def _ensemble(saved: SavedRouter) -> Ensemble:
    """The published ensemble of a checkpoint's name, else the one of its experts; ConfigError where it is neither."""
    names = tuple(record.name for record in saved.experts)
    for ensemble in (ENSEMBLES.get(saved.ensemble), ensemble_of([kind_of(name) for name in names])):
        if ensemble is not None and (ensemble.name, ensemble.experts) == (saved.ensemble, names):
            return ensemble
    raise ConfigError(
        f"{saved.folder}: ensemble {saved.ensemble!r} of {', '.join(names)} is not one of {', '.join(ENSEMBLES)}"
    )


def _without(saved: SavedRouter, left_out: Sequence[str]) -> tuple[SavedRouter, Ensemble]:
    """A router as saved, of the experts that are not left out, and their ensemble; ConfigError for an unknown name."""
    ensemble = _ensemble(saved)
    if not left_out:
        return saved, ensemble
    out = {name: named_expert(name, ensemble.experts) for name in left_out}
    if unknown := [name for name, expert in out.items() if expert is None]:
        raise ConfigError(f"--without {unknown[0]}: no such expert here; {hint(unknown[0], ensemble.experts)}")
    kept = tuple(name for name in ensemble.experts if name not in out.values())
    if not kept:
        raise ConfigError(f"--without leaves out all experts, {', '.join(ensemble.experts)}: keep one")
    logger.info("without %s: the gates are those of %s", ", ".join(filter(None, out.values())), ", ".join(kept))
    records = tuple(record for record in saved.experts if record.name in kept)
    return (
        replace(saved, router=subset(saved.router, kept), experts=records),
        Ensemble(name="+".join(kept), layout=ensemble.layout, experts=kept),
    )


def _find_experts(
    saved: SavedRouter, moved: Mapping[str, Path], *, save_path: Path, flag: str | None
) -> dict[str, Path]:
    """The folder of every expert, by its name: the given one where it was moved, else where it is found."""
    return {
        each.name: find_expert(
            each, given=moved.get(each.name), save_path=save_path, argument=_argument(each.name, flag)
        )
        for each in saved.experts
    }


def _argument(name: str, flag: str | None) -> str:
    """The argument that gives an expert's folder. flag: by name; None: its own."""
    return folder_argument(name, by_name=flag is not None, flag=flag or BY_NAME)


def _reopen(
    config: RunConfig,
    scene: Scene,
    saved: SavedRouter,
    folders: Mapping[str, Path],
    *,
    save_path: Path,
    device: torch.device,
    flag: str | None,
) -> tuple[Expert, ...]:
    """The experts with the files that they had in training; CheckpointError where these were changed."""
    experts = []
    for record in saved.experts:
        name, folder, iteration = record.name, folders[record.name], recorded_iteration(record)
        by_name, name_flag = flag is not None, flag or BY_NAME
        expert = open_expert(
            config, scene, name, folder, device=device, iteration=iteration, by_name=by_name, flag=name_flag
        )
        loaded = record_expert(expert, folder, save_path=save_path)
        require_same_files(record, loaded, _argument(name, flag))
        experts.append(expert)
    return tuple(experts)
