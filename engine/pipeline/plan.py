"""The plan of a data set: its scenes, and the jobs of each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.text.suggestions import hint
from engine.errors import ConfigError
from engine.pipeline.jobs import IDLE, Job
from engine.runs.saved.seeds import runs_of
from engine.settings.parsing.config_file import read_config_file
from engine.settings.run_all import RunAllConfig, words_given
from engine.settings.training.run import RunConfig
from engine.settings.training.train import CONFIGS
from experts import EXPERTS
from router import ENSEMBLES, Ensemble, folder_flags, is_published, render_command
from scenes.frames.video import VIDEO_SUFFIXES
from scenes.layouts import guess_layout
from scenes.points.start import holds_start_points

logger = logging.getLogger(__name__)

VIDEOS = "videos"  # scenes whose cameras are unknown
NAMES_FILE = "camera_names.json"  # left by their preparation, after which they look like N3V's
STEP_OF = {"experts": "expert"}  # name of --skip -> first part of the steps' names, where it is another
POSES = ("poses_bounds.npy", "colmap_*/sparse/0", "sparse/0", "cameras_parameters.txt")
CUT = ("resolution", "start_timestamp", "end_timestamp", "duration")  # flags of a published file for experts too
CACHE = ("--cache_path", "--cache_gb")  # flags of a training for prune and render, too: a run does not tell them
TIMES = ("start_timestamp", "end_timestamp")  # those of them that the preparation takes
UNTRAINED = (*IDLE, "--cache_gb")  # idle flags where nothing is trained: samples of a training follow from the last


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScene:
    """A scene of the data set.

    own: by the first parts of steps' names ("train") or whole names ("expert_stg"), words that their commands get
    before those of the arguments. prunes: its run is pruned before it is rendered.
    """

    root: Path
    kind: str  # of `moegs.py prepare`
    ensemble: Ensemble
    folder: Path  # of its results
    own: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    prunes: bool = False

    @property
    def name(self) -> str:
        """The name of the scene's folder."""
        return self.root.name

    @property
    def save_path(self) -> Path:
        """The folder of its run, or of its runs of several seeds."""
        return self.folder / self.ensemble.name

    @property
    def shown_path(self) -> Path:
        """The folder of the run that is rendered."""
        return self.folder / f"{self.ensemble.name}_pruned" if self.prunes else self.save_path

    def own_words(self, step: str) -> tuple[object, ...]:
        """The words of its own that a step's command gets."""
        return (*self.own.get(step.split("_")[0], ()), *(self.own.get(step, ()) if "_" in step else ()))


def find_scenes(config: RunAllConfig) -> list[PlannedScene]:
    """The scenes of the data set that are asked for, by name; ConfigError where there are none of a name."""
    dataset, output = config.dataset, config.output
    assert dataset is not None, "required"
    if kind := kind_of_scene(dataset):
        found = {dataset.absolute().name: kind}
        roots = {dataset.absolute().name: dataset.absolute()}
    else:
        folders = sorted(path.absolute() for path in dataset.iterdir() if path.is_dir())
        found = {path.name: kind for path in folders if (kind := kind_of_scene(path))}
        roots = {path.name: path for path in folders}
        for path in folders:
            if path.name not in found and not path.name.startswith("."):
                logger.info("left out: %s: no cameras and no videos in it", path)
    if not found:
        raise ConfigError(f"{dataset}: no scene found; give the folder that holds the scenes' folders")
    for name in config.scenes or ():
        if name not in found:
            raise ConfigError(f"--scenes {name}: {dataset} has no such scene; {hint(name, found)}")
    return [
        PlannedScene(
            root=roots[name],
            kind=kind,
            ensemble=ENSEMBLES[config.ensemble or ("E3_tech" if kind == "technicolor" else "E4")],
            folder=output.absolute() / name,
        )
        for name, kind in found.items()
        if config.scenes is None or name in config.scenes
    ]


def kind_of_scene(root: Path) -> str | None:
    """The kind of `moegs.py prepare` for a folder; None where it is no scene."""
    layout = guess_layout(root)
    if layout is not None and has_cameras(root) and not (root / NAMES_FILE).is_file():
        return layout
    videos = [path for path in root.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES]
    return VIDEOS if layout is not None or videos else None


def has_cameras(root: Path) -> bool:
    """True where a scene's folder says where its cameras are."""
    return any(any(root.glob(name)) for name in POSES)


def is_rendered(scene: PlannedScene) -> bool:
    """True where the scene's run, or one of its seeds, has scores of the held-out cameras."""
    return any(any(folder.glob("test/itrs_*/metrics.json")) for folder in runs_of(scene.save_path))


def plan_scene(config: RunAllConfig, scene: PlannedScene) -> list[Job]:
    """The jobs of a scene in order, without the steps that are to be left out."""
    published = next(iter(sorted(CONFIGS.glob(f"*/{scene.name}.json"))), None)
    values = {} if published is None else read_config_file(published, RunConfig)
    jobs = [_prepare(config, scene, values)] if _needs_preparation(config, scene) else []
    before = tuple(job.step for job in jobs)
    jobs += [_expert(config, scene, name, values, before) for name in scene.ensemble.experts]
    jobs.append(_train(config, scene, published, tuple(job.step for job in jobs)))
    if scene.prunes:
        jobs.append(_prune(config, scene, tuple(job.step for job in jobs)))
    jobs.append(_render(config, scene, tuple(job.step for job in jobs)))
    left_out = {STEP_OF.get(name, name) for name in config.skip}
    return [job for job in jobs if job.step.split("_")[0] not in left_out]


def table_job(config: RunAllConfig, scenes: Sequence[PlannedScene]) -> Job:
    """The job that makes one table of rendered scenes."""
    target = config.output.absolute() / "table.md"
    words = ("moegs.py", "table", *(scene.save_path for scene in scenes), "--out", target)
    folder = config.output.absolute()
    return Job(scene="all scenes", step="table", words=words, folder=folder, results=(target,))


def _needs_preparation(config: RunAllConfig, scene: PlannedScene) -> bool:
    """True unless the step is left out, or the scene came with start points and nobody asks for others."""
    if "prepare" in config.skip:
        return False
    begun = (scene.folder / "logs" / "prepare.log").exists()
    if begun or config.prepare_args or not (has_cameras(scene.root) and holds_start_points(scene.root)):
        return True
    logger.info("%s: prepare: skipped, the scene has cameras and start points", scene.name)
    return False


def _prepare(config: RunAllConfig, scene: PlannedScene, values: dict[str, Any]) -> Job:
    words = ("moegs.py", "prepare", scene.kind, scene.root, *_flags(values, TIMES), *_given(config, "prepare_args"))
    results = (scene.root / "points3D*.ply", scene.root / "colmap_*" / "sparse")
    return Job(scene=scene.name, step="prepare", words=words, folder=scene.folder, results=results)


def _expert(
    config: RunAllConfig, scene: PlannedScene, name: str, values: dict[str, Any], before: tuple[str, ...]
) -> Job:
    key = EXPERTS[name].key
    folder, step = expert_folder(scene, name), f"expert_{key}"
    words = (
        *("moegs.py", "train-expert", key, "--source_path", scene.root, "--model_path", folder, "--resume"),
        *(*_flags(values, CUT), *scene.own_words(step), *_given(config, "data_args", "preset", "expert_args")),
    )
    report = "train_expert.json"
    results = (folder / report, folder / "*" / report)
    return Job(scene=scene.name, step=step, words=words, folder=scene.folder, results=results, after=before)


def expert_folder(scene: PlannedScene, name: str) -> Path:
    """The folder of an expert: ensembles of a scene share it."""
    return scene.folder / "experts" / EXPERTS[name].key


def _train(config: RunAllConfig, scene: PlannedScene, published: Path | None, before: tuple[str, ...]) -> Job:
    step = f"train_{scene.ensemble.name}"
    if is_published(scene.ensemble):
        script: tuple[object, ...] = (f"{step}.py",)
        folders: list[tuple[str, object]] = [
            (f"--{flag}", expert_folder(scene, name)) for name, flag in folder_flags(scene.ensemble).items()
        ]
    else:
        script = ("moegs.py", "train")
        folders = [("--expert", f"{name}={expert_folder(scene, name)}") for name in scene.ensemble.experts]
    words = (
        *(*script, "--source_path", scene.root, "--save_path", scene.save_path),
        *(word for pair in folders for word in pair),
        *(() if published is None else ("--config", published)),
        *("--resume", *scene.own_words(step), *_given(config, "data_args", "train_args")),
    )
    saved = Path("router") / "iteration_*"
    results = (scene.save_path / saved, scene.save_path / "seed_*" / saved)
    return Job(scene=scene.name, step=step, words=words, folder=scene.folder, results=results, after=before)


def _prune(config: RunAllConfig, scene: PlannedScene, before: tuple[str, ...]) -> Job:
    step = f"prune_{scene.ensemble.name}"
    given = (*_cache(config), *scene.own_words(step))
    words = ("moegs.py", "prune", scene.save_path, "--out", scene.shown_path, *given)
    results = (scene.shown_path / "pruned.json",)
    return Job(scene=scene.name, step=step, words=words, folder=scene.folder, results=results, after=before)


def _render(config: RunAllConfig, scene: PlannedScene, before: tuple[str, ...]) -> Job:
    script, step = render_command(scene.ensemble).split(), f"render_{scene.ensemble.name}"
    given = (*_cache(config, but="render_args"), *scene.own_words(step), *_given(config, "render_args"))
    words = (*script, "--save_path", scene.shown_path, "--skip_train", *given)
    scores = Path("test") / "itrs_*" / "metrics.json"
    results = (scene.shown_path / scores, scene.shown_path / "seed_*" / scores)
    return Job(
        scene=scene.name, step=step, words=words, folder=scene.folder, results=results, after=before, idle=UNTRAINED
    )


def _given(config: RunAllConfig, *names: str) -> tuple[str, ...]:
    """The words that flags of ours add to a step's command."""
    return tuple(word for name in names for word in words_given(config, name))


def _cache(config: RunAllConfig, *, but: str | None = None) -> tuple[str, ...]:
    """The words of --data_args that say where decoded frames are kept, for commands that open a run again.

    but: the flag whose own words come before these.
    """
    own = {word.split("=")[0] for word in ([] if but is None else _given(config, but))}
    words = _given(config, "data_args")
    taken: list[str] = []
    for place, word in enumerate(words):
        if word.split("=")[0] in set(CACHE) - own:
            taken += [word] if "=" in word else words[place : place + 2]
    return tuple(taken)


def _flags(values: dict[str, Any], names: Sequence[str]) -> list[object]:
    """Flags of settings that a published file gives."""
    given = {name: values[name] for name in names if values.get(name) not in (None, -1)}
    return [word for name, value in given.items() for word in (f"--{name}", value)]
