"""The arguments of planned commands, read before the first job as each command will read them itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.pipeline.footage import other_footage
from engine.pipeline.jobs import Job
from engine.pipeline.plan import PlannedScene, expert_folder
from engine.runs.saved.checkpoint import saved_iterations
from engine.runs.saved.seeds import trained_seeds
from engine.settings.parsing.config_file import read_config_file
from engine.settings.parsing.fields import values_of
from engine.settings.prepare import read_prepare_settings
from engine.settings.prune import read_prune_settings
from engine.settings.rendering.render import read_any_render_settings, read_render_settings
from engine.settings.rendering.render_checks import check_render_config, check_render_files
from engine.settings.run_all import RunAllConfig, words_given
from engine.settings.training.run import RunConfig
from engine.settings.training.run_checks import check_values
from engine.settings.training.train import CONFIG_FILE, read_any_train_settings, read_train_settings
from engine.settings.training.train_expert import TrainExpertConfig, recipe_values
from engine.settings.training.train_expert_checks import check_settings
from engine.settings.training.train_expert_reading import EXPERT_CONFIG_FILE, read_expert_settings
from engine.training.expert.choice import choose_preset, expert_of_key
from engine.training.expert.recipe import recipe_for
from scenes.layouts import LOADERS, guess_layout
from scenes.options import DEFAULT_LAYOUT

GIVEN_BY = {  # first part of a step's name -> the flags that give it arguments, in the order of its command
    "prepare": ("prepare_args",),
    "expert": ("data_args", "preset", "expert_args"),
    "train": ("data_args", "train_args"),
    "prune": (),
    "render": ("render_args",),
}
COMMANDS_READ: Mapping[str, Callable[..., Any]] = {  # first part of a step's name -> its settings, of moegs.py COMMAND
    "prepare": read_prepare_settings,
    "expert": read_expert_settings,
    "train": read_any_train_settings,
    "prune": read_prune_settings,
    "render": read_any_render_settings,
}
RESUME = "--resume"
GROW = ("iterations", "seeds")  # settings of a router's training that --resume may raise
NOT_OF_RESULTS = ("source_path", "cache_path", "cache_mb", "cache_gb", "detect_anomaly", "segment", "window", "set")


def check_plan(config: RunAllConfig, scene: PlannedScene, jobs: Sequence[Job]) -> None:
    """Raises ConfigError for arguments that a scene's steps refuse, or that a trained model would not follow."""
    for job in jobs:
        try:
            _check_arguments(scene, job, job.words)
        except ConfigError as error:
            raise ConfigError(f"{_culprit(config, scene, job)}step {job.step}: {error}") from None
        if not job.is_done():
            _check_scene(scene, job)
            _check_kept(config, scene, job)


def _given(config: RunAllConfig, job: Job) -> dict[str, tuple[str, ...]]:
    """The words that each of the flags adds to a job's command; they stand at its end, in this order."""
    return {name: words_given(config, name) for name in GIVEN_BY[job.step.split("_")[0]]}


def _fixed(config: RunAllConfig, job: Job) -> tuple[object, ...]:
    """The words of a job's command that run-all gives itself."""
    return job.words[: len(job.words) - sum(map(len, _given(config, job).values()))]


def _culprit(config: RunAllConfig, scene: PlannedScene, job: Job) -> str:
    """The flag whose words are refused, "--data_args, "; all that gave some where none alone is."""
    given = {name: words for name, words in _given(config, job).items() if words}
    for words, culprits in (((), ()), *((words, (name,)) for name, words in given.items())):
        try:
            _check_arguments(scene, job, (*_fixed(config, job), *words))
        except ConfigError:
            return "".join(f"--{name}, " for name in culprits)
    return "".join(f"--{name}, " for name in given)


def _check_arguments(scene: PlannedScene, job: Job, words: Sequence[object]) -> None:
    """Raises ConfigError where the step's command would. --resume is left out: it reads what earlier runs left."""
    settings = _read(scene, job, [str(word) for word in words if word != RESUME])
    if isinstance(settings, TrainExpertConfig):
        check_settings(settings)
        _check_recipe(settings)
    elif isinstance(settings, RunConfig):
        check_values(settings, scene.ensemble)


def _read(scene: PlannedScene, job: Job, words: Sequence[str]) -> Any:
    """The settings of a step's command."""
    script, *arguments = words
    kind = job.step.split("_")[0]
    if script == "moegs.py":
        return COMMANDS_READ[kind](arguments[1:], prog=f"{script} {arguments[0]}", description="")
    if kind == "train":
        return read_train_settings(scene.ensemble, arguments)
    settings = read_render_settings(scene.ensemble, arguments)
    check_render_config(settings, scene.ensemble)
    check_render_files(settings)
    return settings


def _check_recipe(config: TrainExpertConfig) -> None:
    source, spec = config.data.source_path, expert_of_key(config.expert)
    assert source is not None, "run-all gives it"
    layout = LOADERS[config.data.loader].name if config.data.loader else guess_layout(source) or DEFAULT_LAYOUT
    _, preset = choose_preset(spec, config.recipe.preset, scene=source.name, layout=layout)
    recipe_for(config, spec, preset)


def _check_scene(scene: PlannedScene, job: Job) -> None:
    """Raises ConfigError where a model was trained on the footage of another scene, which is still there.

    Its step would refuse the new one, but only after records of steps before it were replaced. Of a scene that is gone
    the step itself tells.
    """
    for path, config_type in _settings_files(scene, job).items():
        try:
            before = Path(str(read_config_file(path, config_type).get("source_path")))
        except ConfigError:  # a damaged file, of which the step itself tells
            continue
        if others := other_footage(before, scene.root):
            raise ConfigError(
                f"{scene.name}, step {job.step}: {path.parent} was trained on {before}, whose {others} are others than "
                f"those of {scene.root}: delete that folder to train again, or choose another --output"
            )


def _settings_files(scene: PlannedScene, job: Job) -> dict[Path, type]:
    """The settings that a training's models left: those of its own, and of the experts that a router is trained on."""
    folder = _model_folder(job)
    if folder is None:
        return {}
    if not job.step.startswith("train"):
        files: dict[Path, type] = {folder / EXPERT_CONFIG_FILE: TrainExpertConfig}
    else:
        experts = (expert_folder(scene, name) for name in scene.ensemble.experts)
        files = {expert / EXPERT_CONFIG_FILE: TrainExpertConfig for expert in experts}
        files[folder / CONFIG_FILE] = RunConfig
    return {path: config_type for path, config_type in files.items() if path.is_file()}


def _check_kept(config: RunAllConfig, scene: PlannedScene, job: Job) -> None:
    """Raises ConfigError where a trained model would keep settings that the arguments do not give any more.

    --resume takes from the model's folder what no flag gives, and trains a finished router no further.
    """
    folder, is_router = _model_folder(job), job.step.startswith("train")
    if folder is None or not (folder / (CONFIG_FILE if is_router else EXPERT_CONFIG_FILE)).is_file():
        return
    words = list(map(str, job.words))
    fixed = [str(word) for word in _fixed(config, job)]
    if "--config" in fixed:
        del fixed[fixed.index("--config") : fixed.index("--config") + 2]
    asked = _compared(_read(scene, job, [word for word in words if word != RESUME]))
    try:
        used, saved = _compared(_read(scene, job, words)), _compared(_read(scene, job, fixed))
    except ConfigError:  # a damaged file, of which the step itself tells
        return
    trained = is_router and bool(saved_iterations(folder) or trained_seeds(folder))
    for name in sorted({*asked, *used, *saved}):
        old, new = saved.get(name), asked.get(name)
        if used.get(name) != new or (trained and old != new and not _grows(name, old, new)):
            raise ConfigError(
                f"{scene.name}, step {job.step}: {name} is {_word(new)} by these arguments, and {folder} was trained "
                f"with {_word(old)}: give it as before, delete that folder to train again, or choose another --output"
            )


def _word(value: object) -> str:
    return "not given" if value is None else str(value)


def _model_folder(job: Job) -> Path | None:
    """The folder that a training's command writes its model to; None for other steps."""
    flag = {"train": "--save_path", "expert": "--model_path"}.get(job.step.split("_")[0])
    return None if flag is None else Path(str(job.words[job.words.index(flag) + 1]))


def _compared(config: RunConfig | TrainExpertConfig) -> Mapping[str, Any]:
    """The settings by which a trained model differs, by name; None and absent are the same."""
    if isinstance(config, TrainExpertConfig):
        values = {**values_of(config.data), **values_of(config.recipe), **recipe_values(config)}
    else:
        experts = replace(config.experts, expert_frames=(), file_planes=())  # found by a training, not asked for
        folders = {name for name, value in values_of(experts).items() if isinstance(value, Path)}
        own = {name: value for name, value in values_of(experts).items() if name not in folders}
        values = own | values_of(config.data) | values_of(config.router) | values_of(config.training)
    return {
        name: value.absolute() if isinstance(value, Path) else value
        for name, value in values.items()
        if name not in NOT_OF_RESULTS
    }


def _grows(name: str, old: object, new: object) -> bool:
    return name in GROW and isinstance(old, int) and isinstance(new, int) and new > old
