"""Stage 1, the training of an expert from video: python moegs.py train-expert EXPERT."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from engine.errors import ConfigError
from engine.evaluation.expert import ExpertScores, evaluate_expert, spread
from engine.evaluation.measured_under import versions
from engine.outputs.files import results_folder, write_json
from engine.runs.checks import check_rasterizer
from engine.runs.device import device_name, gpu_versions, open_compute_device, peak_memory, release_unused, wait
from engine.runs.opening import read_scene
from engine.settings.command_line import INTERRUPTED, set_up_logging
from engine.settings.expert_settings import KEYS
from engine.settings.run import LAYOUTS
from engine.settings.train_expert import TrainExpertConfig, check_settings, read_settings, write_settings
from engine.training.expert_choice import expert_of_key
from engine.training.expert_saves import bytes_of, check_folder, covered, save_expert, save_state, saved_state
from engine.training.expert_segments import choose_targets
from engine.training.expert_session import Session, facts_of, open_session
from engine.training.expert_views import disk_bytes, waiting_bytes
from engine.training.milestones import Milestones, train_through
from engine.training.progress import Progress, duration
from experts import ExpertSpec
from experts.training.loop import Step, train
from scenes import Scene
from scenes.load import guess_layout

logger = logging.getLogger(__name__)

ABOUT = f"Train one of the experts: {KEYS}."
REPORT = "train_expert.json"
SCHEMA = 1
QUARTERS = 4  # when held-out frames are scored on the way, by default
FRAMES_ON_THE_WAY = 8  # of each held-out camera
MEGABYTE = 1e6


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """The command's exit code: 0 done, 130 interrupted and saved."""
    set_up_logging(quiet="--quiet" in argv)
    config = read_settings(argv, prog=prog, description=description)
    spec = expert_of_key(config.expert)
    check_settings(config)
    model_path, output = cast(Path, config.output.model_path), config.output
    scene = open_scene(config, model_path)
    compute = open_compute_device(config.machine.device, config.machine.backend)
    check_rasterizer(compute)
    targets = choose_targets(config, spec, scene, compute)
    for target in targets:
        check_folder(target.folder, resume=output.resume, overwrite=output.overwrite)
    for target in targets:
        session = open_session(config, spec, target)
        write_settings(config, model_path)
        with session.footage:
            if not train_expert(session, spec):
                return INTERRUPTED
    return 0


def open_scene(config: TrainExpertConfig, model_path: Path) -> Scene:
    """The scene of --source_path, in the layout that it looks like unless --loader says."""
    data = config.data
    source = cast(Path, data.source_path)
    layout = LAYOUTS[data.loader] if data.loader else guess_layout(source) or "n3v"
    cache = data.cache_path or model_path / "cache"
    return read_scene(data, source, layout=layout, cache=cache, quiet=config.machine.quiet)


def train_expert(session: Session, spec: ExpertSpec) -> bool:
    """Trains to the last iteration, saving and scoring on the way, then reports; False where it was interrupted."""
    total, output = session.recipe.iterations, session.config.output
    folder = session.target.folder
    tests = output.test_iterations
    if tests is None:
        tests = tuple(total * part // QUARTERS for part in range(1, QUARTERS))
    _log_footage(session)
    if session.start >= total:
        logger.info("%s: already at iteration %d of %d", folder, session.start, total)
    milestones = Milestones(
        start=session.start,
        total=total,
        saves={*output.save_iterations, total},
        evaluations={step for step in tests if step < total},
        save=lambda iteration: _save(session, iteration),
        evaluate=lambda iteration: _evaluate(session, iteration, on_the_way=True),
        is_saved=lambda iteration: (found := saved_state(folder)) is not None and found[0] == iteration,
        is_sound=lambda: _is_finite(session),
    )
    if not train_through(_shown_steps(session), milestones):
        return False
    if not _saved_model(session).is_dir():  # saving it failed, after the state was saved
        _save(session, total)
    if session.start < total or not (folder / REPORT).is_file():
        scores = _evaluate(session, total, on_the_way=False)
        report = write_json(folder / REPORT, _report(session, scores))
        logger.info("%s: done in %s: %s", spec.name, duration(session.seconds), report)
    return True


def _shown_steps(session: Session) -> Generator[int, None, None]:
    """The iterations of the loop, as they are done, with a progress bar; their time is added to the session's."""
    trainer, total = session.trainer, session.recipe.iterations
    loop = train(trainer, start=session.start, backend=session.target.compute.backend, correction=session.correction)
    steps = closing(cast("Generator[Step, None, None]", loop))
    quiet = session.config.machine.quiet
    with steps as each, Progress(session.target.name, total=total, start=session.start, quiet=quiet) as progress:
        begun, gaussians = time.perf_counter(), trainer.count
        for step in each:
            if step.gaussians != gaussians:
                release_unused(session.target.compute.device)
                gaussians = step.gaussians
            if step.psnr is not None and step.loss is not None:
                progress.read(step.iteration, loss=step.loss, psnr=step.psnr, more={"Gaussians": step.gaussians})
            progress.advance(step.iteration)
            session.seconds += time.perf_counter() - begun
            yield step.iteration
            begun = time.perf_counter()


def _is_finite(session: Session) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in session.trainer.model.parameters())


def _save(session: Session, iteration: int) -> None:
    """The state first: if the expert cannot be saved, its training can still be continued."""
    target = session.target
    wait(target.compute)
    if not _is_finite(session):
        raise ConfigError(
            f"{target.name} holds values that are not finite after iteration {iteration}, which is not saved: lower "
            "the learning rates, or look for images and start points that do not belong together"
        )
    save_state(target.folder, iteration, session.state())
    if not covered(session.trainer.model, (0,)):
        logger.info("iteration %d: saved the state; the model shows no frame of the clip yet", iteration)
        return
    folder = save_expert(session.trainer.model, target, iteration, facts=_cfg_facts(session))
    logger.info("iteration %d: saved %s, %d Gaussians", iteration, folder, session.trainer.count)


def _saved_model(session: Session) -> Path:
    return session.target.folder / "point_cloud" / f"iteration_{session.recipe.iterations}"


def _cfg_facts(session: Session) -> dict[str, object]:
    """What cfg_args says beside what the expert's format needs."""
    config, scene = session.config, session.target.scene
    return {
        "source_path": str(scene.root.absolute()),
        "model_path": str(session.target.folder.absolute()),
        "resolution": config.data.resolution,
        "loader": next(name for name, layout in LAYOUTS.items() if layout == scene.layout),
        "start_timestamp": scene.start,
        "iterations": session.recipe.iterations,
    }


def _evaluate(session: Session, iteration: int, *, on_the_way: bool) -> ExpertScores | None:
    """Scores on the held-out cameras, logged and kept in the history; None where the model shows no frame yet."""
    target, model = session.target, session.trainer.model
    wanted = FRAMES_ON_THE_WAY if on_the_way else session.config.output.test_frames
    frames = covered(model, spread(target.scene.num_frames, wanted))
    if not frames:
        return None
    found = evaluate_expert(
        model,
        target.scene,
        compute=target.compute,
        folder=results_folder(target.folder, "test", iteration),
        frames=frames,
        lpips=not on_the_way,
        lpips_weights=session.config.output.lpips_weights,
        quiet=session.config.machine.quiet,
    )
    scores = asdict(found.scores)
    session.history.append(
        {"iteration": iteration, "gaussians": session.trainer.count, "frames": found.frames, **scores}
    )
    lpips = "" if found.scores.lpips is None else f", LPIPS {found.scores.lpips:.4f}"
    logger.info(
        "iteration %d: held out, %d frames: PSNR %.2f, SSIM %.4f%s",
        iteration,
        found.frames,
        found.scores.psnr,
        found.scores.ssim,
        lpips,
    )
    return found


def _log_footage(session: Session) -> None:
    scene, compute = session.target.scene, session.target.compute
    waiting = waiting_bytes(scene, batch=session.recipe.batch, gpu=compute.device.type == "cuda")
    logger.info(
        "footage: %d images, %.1f MB on disk, at most %.1f MB of them in memory at a time",
        len(scene.train) * scene.num_frames,
        disk_bytes(scene) / MEGABYTE,
        waiting / MEGABYTE,
    )


def _report(session: Session, scores: ExpertScores | None) -> dict[str, Any]:
    """Everything worth comparing of a finished training."""
    target, compute = session.target, session.target.compute
    return {
        "schema": SCHEMA,
        "expert": target.name,
        "scene": target.scene.name,
        "source_path": target.scene.root.absolute(),
        "preset": session.preset,
        "gaussians": session.trainer.count,
        "gaussians_at_start": session.start_count,
        "start_points": session.start_note,
        "megabytes": bytes_of(_saved_model(session)) / MEGABYTE,
        "training_seconds": session.seconds,
        "scores": None if scores is None else asdict(scores.scores),
        "scored_frames": None if scores is None else scores.frames,
        "seconds_a_frame": None if scores is None else scores.seconds,
        "lpips_weights": None if scores is None else scores.lpips_source,
        "history": session.history,
        "device": device_name(compute.device),
        "backend": compute.backend,
        "peak_gpu_memory_mib": peak_memory(compute.device),
        "versions": versions() | gpu_versions(compute.device),
        "scene_notes": list(target.scene.notes),
        "settings": facts_of(session),
    }
