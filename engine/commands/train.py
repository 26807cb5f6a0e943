"""Training of a router, from the command's arguments to the saved run."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from engine.errors import ConfigError
from engine.evaluation.evaluator import EvaluationOptions, evaluate
from engine.outputs.files import results_folder
from engine.runs.checkpoint import save_checkpoint, saved_iterations
from engine.runs.device import peak_memory, wait
from engine.runs.expert_records import ExpertRecord, bundle_expert, record_expert
from engine.runs.opening import expert_folders, new_run
from engine.runs.run import Run
from engine.runs.saved import CONFIG_FILE
from engine.settings.command_line import INTERRUPTED, parse, run_command, set_up_logging
from engine.settings.config_file import read_config_file, write_config_file
from engine.settings.fields import with_values
from engine.settings.run import RunConfig, check_config, evaluation_steps, save_steps
from engine.training.milestones import Milestones, train_through
from engine.training.progress import Progress
from engine.training.router_optimiser import make_optimiser
from engine.training.router_resume import check_folder, resume_newest
from engine.training.router_state import training_state
from engine.training.router_steps import training_steps
from router import ENSEMBLES, Ensemble, Router

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run being trained."""

    run: Run
    config: RunConfig
    save_path: Path
    optimiser: torch.optim.Optimizer
    experts: tuple[ExpertRecord, ...]


def main(ensemble_name: str, argv: Sequence[str] | None = None) -> int:
    """A training script: its exit code (0 done, 2 wrong use or data, 130 interrupted and saved)."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_command(lambda: _main(ENSEMBLES[ensemble_name], arguments), arguments)


def _main(ensemble: Ensemble, arguments: Sequence[str]) -> int:
    set_up_logging(quiet="--quiet" in arguments)
    config = read_settings(ensemble, arguments)
    check_config(config, ensemble)
    session, start = open_session(config, ensemble)
    return train(session, start)


def read_settings(ensemble: Ensemble, arguments: Sequence[str]) -> RunConfig:
    """Settings of a training command; --resume without --config takes those of the run's own config.json."""
    names = ", ".join(ensemble.experts)
    script, about = f"train_{ensemble.name}.py", f"Train the router that blends {names}."

    def parsed(defaults: RunConfig) -> RunConfig:
        return parse(RunConfig, arguments, defaults=defaults, prog=script, description=about)

    config = parsed(RunConfig())
    saved = config.output.save_path / CONFIG_FILE if config.output.save_path else None
    if config.output.resume and config.config is None and saved is not None and saved.is_file():
        return parsed(with_values(RunConfig(), read_config_file(saved, RunConfig)))
    if config.config is None:
        logger.info("no --config: default learning rates; configs/ holds those of the paper's scenes")
    return config


def open_session(config: RunConfig, ensemble: Ensemble) -> tuple[Session, int]:
    """A session and the iteration it starts after; writes config.json, and the bundle where asked for."""
    save_path = config.output.save_path
    if save_path is None:
        raise ConfigError("--save_path is missing: give the folder of the results")
    check_folder(config, save_path)
    run = new_run(config, ensemble)
    folders = expert_folders(config, ensemble)
    records = tuple(record_expert(expert, folders[expert.name]) for expert in run.experts)
    optimiser = make_optimiser(run.router, config.training)
    start = 0
    if config.output.resume:
        start = resume_newest(run, optimiser, save_path=save_path, seed=config.training.seed, records=records)
    if config.output.overwrite:
        shutil.rmtree(save_path / "router", ignore_errors=True)
    logger.info("settings: %s", write_config_file(save_path / CONFIG_FILE, config))
    if config.output.bundle:
        for record in records:
            logger.info("bundled: %s", bundle_expert(record, save_path))
    return Session(run=run, config=config, save_path=save_path, optimiser=optimiser, experts=records), start


def train(session: Session, start: int) -> int:
    """Trains to the last iteration, saving and evaluating on the way; returns the exit code.

    A signal or an error saves what was reached before it ends the run.
    """
    training, ensemble = session.config.training, session.run.ensemble
    milestones = Milestones(
        start=start,
        total=training.iterations,
        saves=save_steps(session.config, ensemble),
        evaluations=evaluation_steps(session.config, ensemble),
        save=lambda iteration: _save(session, iteration),
        evaluate=lambda iteration: _evaluate(session, iteration),
        is_saved=lambda iteration: iteration in saved_iterations(session.save_path),
        is_sound=lambda: _is_finite(session.run.router),
    )
    with torch.autograd.set_detect_anomaly(training.detect_anomaly):
        if not train_through(_shown_steps(session, start), milestones):
            return INTERRUPTED
    memory = peak_memory(session.run.device)
    if memory is not None:
        logger.info("most GPU memory in tensors at a time: %d MiB", memory)
    folder, last = session.save_path.absolute(), max(start, training.iterations)
    logger.info("done; render it with: python render_%s.py --save_path %s --iteration %d", ensemble.name, folder, last)
    return 0


def _shown_steps(session: Session, start: int) -> Generator[int, None, None]:
    """The iterations of the training loop, as they are done, with a progress bar."""
    training = session.config.training
    if start >= training.iterations:
        logger.info("already at iteration %d of %d: nothing left to train", start, training.iterations)
        return
    steps = closing(training_steps(session.run, session.optimiser, training, start=start))
    progress = Progress("train", total=training.iterations, start=start, quiet=session.config.machine.quiet)
    with steps as each, progress:
        for step in each:
            for reading in step.readings:
                progress.read(reading.iteration, loss=reading.loss, psnr=reading.psnr)
            progress.advance(step.iteration)
            yield step.iteration


def _is_finite(router: Router) -> bool:
    """Whether a router can be saved; on a GPU it may have learned from a fault that is found a few steps later."""
    return all(bool(parameter.isfinite().all()) for parameter in router.parameters())


def _save(session: Session, iteration: int) -> None:
    wait(session.run.compute)
    if not _is_finite(session.run.router):
        raise ConfigError(
            f"the router holds values that are not finite after iteration {iteration}, which is not saved: lower the "
            "learning rates, or find the cause with --detect_anomaly"
        )
    state = training_state(session.optimiser, session.config.training.seed)
    folder = save_checkpoint(session.save_path, session.run, iteration, experts=session.experts, state=state)
    logger.info("iteration %d: saved %s", iteration, folder)


def _evaluate(session: Session, iteration: int) -> None:
    run, wanted = session.run, session.config.output.test_frames
    count = run.scene.num_frames
    chosen = min(count if wanted is None else wanted, count)
    evaluation = evaluate(
        replace(run, iteration=iteration),
        views=run.scene.test,
        folder=results_folder(session.save_path, "test", iteration),
        options=EvaluationOptions(
            frames=[index * count // chosen for index in range(chosen)],
            lpips=False,
            constant_frames=0,
            progress=not session.config.machine.quiet,
        ),
    )
    means = ", ".join(f"{name} {scores.psnr:.2f}" for name, scores in evaluation.means.items())
    cameras = " ".join(run.scene.views[view].name for view in run.scene.test)
    logger.info("iteration %d: PSNR on %s, %d frames: %s", iteration, cameras, chosen, means)
