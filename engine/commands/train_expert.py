"""Train an expert (stage 1): python moegs.py train-expert EXPERT."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from common import ranks
from common.disk.files import file_hash, write_json
from common.text.units import MEGABYTE
from common.text.wording import duration
from engine.checks.experts import EXPERT_REPORT
from engine.checks.footage import warn_of_frames
from engine.evaluation.conditions import versions
from engine.evaluation.expert import ExpertScores
from engine.evaluation.measures.suite import weights_facts
from engine.runs.alone import alone
from engine.runs.cost import expert_cost, log_cost
from engine.runs.device import device_name, peak_memory
from engine.runs.opening import checked_device
from engine.runs.revision import this_revision
from engine.runs.scene import decode, read_scene
from engine.runs.trial import must_decode
from engine.settings.parsing.command_line import INTERRUPTED, set_up_logging
from engine.settings.training.train_expert import TrainExpertConfig
from engine.settings.training.train_expert_checks import check_settings
from engine.settings.training.train_expert_reading import EXPERT_CONFIG_FILE, read_expert_settings, write_settings
from engine.training.expert.choice import expert_of_key
from engine.training.expert.finished import is_finished
from engine.training.expert.old_training import set_trainings_aside
from engine.training.expert.opening import check_expert_task, open_expert_task, opens_once, training_time
from engine.training.expert.saves import ExpertOutput, bytes_of, check_model_folder, saved_expert_folder
from engine.training.expert.segments import choose_outputs
from engine.training.expert.task import ExpertTask
from engine.training.loop import train
from engine.training.tensorboard import check_tensorboard, tensorboard_command
from experts import ExpertSpec
from scenes import Scene, needed_views
from scenes.layouts import LOADERS, guess_layout
from scenes.options import DEFAULT_LAYOUT

logger = logging.getLogger(__name__)

_SCHEMA = 1


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 done, 130 interrupted and saved."""
    set_up_logging(quiet="--quiet" in argv, debug="--debug" in argv)
    config = read_expert_settings(argv, prog=prog, description=description)
    spec = expert_of_key(config.expert)
    check_settings(config)
    check_tensorboard(wanted=config.output.tensorboard)
    model_path = cast(Path, config.output.model_path)
    check_model_folder(model_path, resume=config.output.resume, overwrite=config.output.overwrite)
    scene = open_expert_scene(config, model_path)
    compute = checked_device(config.machine)
    outputs = choose_outputs(config, spec, scene, compute)
    with ExitStack() as stack:
        for output in outputs:  # not the model's folder: its segments may be trained side by side
            stack.enter_context(alone(output.folder, "--model_path"))
        for output in outputs:
            check_model_folder(output.folder, resume=config.output.resume, overwrite=config.output.overwrite)
        if len(outputs) > 1:
            outputs = unfinished(config, spec, outputs)
        if not outputs:
            return 0
        tries = ranks.is_first() and must_decode(scene, range(len(scene.views)))  # else progress tells the time at once
        keeps = opens_once(outputs) and not tries
        starts = [check_expert_task(config, spec, output, tries=tries, keeps=keeps) for output in outputs]
        recipe, gaussians = starts[0].recipe, max(start.gaussians for start in starts)
        cost = expert_cost(scene, compute, spec, recipe, results=model_path, models=len(starts), gaussians=gaussians)
        log_cost(replace(cost, time=training_time(starts)))
        decode(scene, needed_views(scene, "all"))  # after all that can refuse, since it takes minutes
        warn_of_frames(scene, points=None if config.data.points == "random" else config.data.points)
        for output, start in zip(outputs, starts, strict=True):
            task = open_expert_task(config, spec, output, start=start)
            if ranks.is_first():
                prepare_folders(config, task, outputs)
            if config.output.tensorboard:
                logger.info("to watch the training: %s", tensorboard_command(output.folder))
            if not train(task, task.schedule(), quiet=config.machine.quiet):
                return INTERRUPTED
            finish(task)
    return 0


def unfinished(config: TrainExpertConfig, spec: ExpertSpec, outputs: Sequence[ExpertOutput]) -> list[ExpertOutput]:
    """The windows or segments that are still to be trained or scored; a line for the log tells of each other one."""
    finished = ranks.from_first([is_finished(config, spec, output) for output in outputs])
    for output, is_done in zip(outputs, finished, strict=True):
        if is_done:
            logger.info("%s: trained before, nothing to do: %s", output.name, output.folder / EXPERT_REPORT)
    return [output for output, is_done in zip(outputs, finished, strict=True) if not is_done]


def open_expert_scene(config: TrainExpertConfig, model_path: Path) -> Scene:
    """The scene of --source_path, in the layout that it looks like unless --loader says; no frame is decoded yet."""
    data = config.data
    source = cast(Path, data.source_path)
    layout = LOADERS[data.loader].name if data.loader else guess_layout(source) or DEFAULT_LAYOUT
    return read_scene(data, source, layout=layout, results=model_path, quiet=config.machine.quiet)


def prepare_folders(config: TrainExpertConfig, task: ExpertTask, outputs: Sequence[ExpertOutput]) -> None:
    """Leaves the settings for --resume; with --overwrite all earlier trainings are set aside before the first task."""
    model_path = cast(Path, config.output.model_path)
    unwritten = task.start < task.last or not (model_path / EXPERT_CONFIG_FILE).is_file()
    if config.output.overwrite and task.output is outputs[0]:
        if task.output.folder != model_path:  # no kill may leave new models to the old settings
            write_settings(config, model_path)
        set_trainings_aside([output.folder for output in outputs])
    if unwritten:  # else they stay as they are
        write_settings(config, model_path)


def finish(task: ExpertTask) -> None:
    """Scores a trained expert and writes its report, where that was not done before."""
    folder, last = task.output.folder, task.last
    if not ranks.from_first(saved_expert_folder(folder, last).is_dir()):  # saving it failed, after the state was saved
        task.save(last)
    if task.start < last or not ranks.from_first((folder / EXPERT_REPORT).is_file()):
        scores = task.score(last, task.config.output.test_frames, networks=True)
        if ranks.is_first():
            path = write_json(folder / EXPERT_REPORT, report(task, scores))
            logger.info("%s: training took %s; report: %s", task.name, duration(task.seconds), path)


def report(task: ExpertTask, scores: ExpertScores | None) -> dict[str, Any]:
    """Everything worth comparing of a finished training."""
    output, compute = task.output, task.output.compute
    return {
        "schema": _SCHEMA,
        "expert": output.name,
        "scene": output.scene.name,
        "source_path": output.scene.root.absolute(),
        "preset": task.begun.preset,
        "gaussians": task.trainer.count,
        "gaussians_at_start": task.begun.gaussians,
        "start_points": task.begun.points,
        "megabytes": bytes_of(saved_expert_folder(output.folder, task.last)) / MEGABYTE,
        "training_seconds": task.seconds,
        "seed": task.config.recipe.seed,
        "scores": None if scores is None else scores.scores,
        "scored_frames": None if scores is None else scores.frames,
        "seconds_a_frame": None if scores is None else scores.seconds,
        "frames_per_second": None if scores is None else scores.frames_per_second,
        **(weights_facts(None) if scores is None else scores.weights),
        "history": task.history,
        "device": device_name(compute.device),
        "backend": compute.backend,
        "peak_gpu_memory_mib": peak_memory(compute.device),
        "hashes": {**_file_hashes(output.folder, task.last), **(scores.hashes if scores else {})},
        "revision": this_revision(),
        "versions": versions(compute.device),
        "scene_notes": list(output.scene.notes),
        "settings": task.facts(),
    }


def _file_hashes(folder: Path, iteration: int) -> dict[str, Any]:
    """SHA-256 of every file of a saved expert, by its path below the model's folder."""
    files = sorted(path for path in saved_expert_folder(folder, iteration).rglob("*") if path.is_file())
    return {"files": {str(path.relative_to(folder)): file_hash(path) for path in files}}
