"""The conditions that settings of a training run must satisfy."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.settings.parsing.paths import check_file, check_folder, check_target
from engine.settings.training.data_checks import check_data
from engine.settings.training.experts import AnyExpertsConfig, check_expert_frames, check_novel_near
from engine.settings.training.run import (
    RunConfig,
    check_keep_checkpoints,
    check_seed,
    expert_folders,
)
from experts import EXPERTS, ExpertSpec
from router.ensembles import Ensemble, ensembles_with, kind_of

FEWEST_EXPERTS = 2  # of a blend


def check_config(config: RunConfig, ensemble: Ensemble) -> None:
    """Raises ConfigError for settings that are missing, out of range, or not for this ensemble."""
    check_folder("--source_path", config.data.source_path)
    check_target("--cache_path", config.data.cache_path)
    _check_experts(config, ensemble)
    check_target("--save_path", config.output.save_path)
    check_file("--lpips_weights", config.training.lpips_weights, or_folder=True)
    check_values(config, ensemble)


def check_values(config: RunConfig, ensemble: Ensemble) -> None:
    """The part of `check_config` that looks at no folder."""
    training, router, output = config.training, config.router, config.output
    positive = {
        "iterations": training.iterations,
        "batch": training.batch,
        "seeds": training.seeds,
        "temperature": router.temperature,
        "eval_temperature": router.eval_temperature,
        "cache_mb": config.data.cache_mb,
        "test_frames": output.test_frames,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} is {value}: give more than 0")
    if output.compress and not output.bundle:
        raise ConfigError("--compress makes a small bundle: give --bundle, too")
    pictures = [name for name in ensemble.experts if EXPERTS[kind_of(name)].pictures]
    if output.compress and pictures:
        raise ConfigError(f"--compress: {pictures[0]} has pictures, which get no smaller; leave it out")
    check_novel_near(config.experts.novel_near)
    check_expert_frames(config.experts.expert_frames, ensemble.experts)
    check_seed(training.seed)
    check_keep_checkpoints(output.keep_checkpoints)
    check_data(config.data)
    for name in ("featuret_lr", "feature_lr", "rgb_lr", "cue_lr", "lambda_gates", "lambda_lpips"):
        if not getattr(training, name) >= 0:
            raise ConfigError(f"--{name} is {getattr(training, name)}: give 0 or more")
    if not 0 <= training.lambda_dssim <= 1:
        raise ConfigError(f"--lambda_dssim is {training.lambda_dssim}: give a share between 0 and 1")
    for name in ("test_iterations", "save_iterations"):
        if any(step < 1 for step in getattr(output, name) or ()):
            raise ConfigError(f"--{name} holds {min(getattr(output, name))}: iterations are counted from 1")
    if output.resume and output.overwrite:
        raise ConfigError("--resume and --overwrite exclude each other: give one")


def _check_experts(config: RunConfig, ensemble: Ensemble) -> None:
    if isinstance(config.experts, AnyExpertsConfig):
        if len(ensemble.experts) < FEWEST_EXPERTS:
            raise ConfigError(
                f"--expert is given {len(ensemble.experts)} times: a blend needs {FEWEST_EXPERTS} or more"
            )
    else:
        for spec in EXPERTS.values():
            if spec.name not in ensemble.experts and getattr(config.experts, spec.flag) is not None:
                raise ConfigError(
                    f"--{spec.flag} is not used by {ensemble.name}: {_scripts_with(spec)} it; leave it out"
                )
    expert_folders(config, ensemble)


def _scripts_with(spec: ExpertSpec) -> str:
    scripts = [f"train_{name}.py" for name in ensembles_with(spec.name)]
    return f"{' and '.join(scripts)} {'use' if len(scripts) > 1 else 'uses'}"
