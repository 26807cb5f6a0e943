"""Rendering a trained run: both splits with metrics and videos, or the held-out cameras from new viewpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from moegs_rasterizer import Camera
from tqdm import tqdm

from engine.errors import ConfigError
from engine.evaluation.evaluator import EvaluationOptions, evaluate
from engine.evaluation.results import Evaluation, summary, upstream_metrics
from engine.outputs.files import results_folder, write_json
from engine.outputs.image_writer import Images
from engine.runs.device import wait
from engine.runs.run import Run, mix_camera
from engine.runs.saved import load_run
from engine.settings.command_line import parse, run_command, set_up_logging
from engine.settings.render import (
    RenderConfig,
    check_render_config,
    overrides_of,
    refuse_training_flags,
    run_folder,
    variant_of,
)
from router import ENSEMBLES, Ensemble
from scenes.novel_views import rig_up, shifted, with_focal_mm
from scenes.options import Needed


def main(ensemble: str, argv: Sequence[str] | None = None) -> int:
    """The command `render_<ensemble>.py`: its exit code. argv None: the arguments of this process."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_command(lambda: _command(ENSEMBLES[ensemble], arguments), arguments)


def _command(ensemble: Ensemble, argv: Sequence[str]) -> int:
    experts = ", ".join(ensemble.experts)
    refuse_training_flags(argv)
    config = parse(
        RenderConfig,
        argv,
        defaults=RenderConfig(),
        prog=f"render_{ensemble.name}.py",
        description=f"Render and score a run of train_{ensemble.name}.py ({experts}).",
    )
    set_up_logging(quiet=config.quiet)
    run = open_run(config, ensemble)
    files: list[Path] = []
    if variant_of(config):
        files += render_novel_views(run, config)
    for split, evaluation in evaluate_splits(run, config):
        print(summary(split, evaluation), end="\n\n")
        files += evaluation.files
    print("written:", *files, sep="\n  ")
    return 0


def open_run(config: RenderConfig, ensemble: Ensemble) -> Run:
    """The saved run that the settings choose; ConfigError where they do not fit or it is another ensemble's."""
    check_render_config(config, ensemble)
    choice = config.choice
    needed: Needed = "test" if choice.skip_train or variant_of(config) else "train" if choice.skip_test else "all"
    run = load_run(
        run_folder(config),
        iteration=None if choice.iteration == -1 else choice.iteration,
        overrides=overrides_of(config),
        needed=needed,
    )
    if run.ensemble.name != ensemble.name:
        raise ConfigError(f"{run_folder(config)}: a run of {run.ensemble.name}; use render_{run.ensemble.name}.py")
    return run


def evaluate_splits(run: Run, config: RenderConfig) -> Iterator[tuple[str, Evaluation]]:
    """Evaluates the training, then the held-out cameras, where not skipped; none where a new viewpoint is asked for.

    The held-out cameras' `mean_metrics.json` is also written to the run's folder, where upstream has it.
    """
    options = EvaluationOptions(
        images=config.choice.save_img,
        lpips_weights=config.metrics.lpips_weights,
        protocol=config.metrics.metric_protocol,
        constant_frames=config.metrics.constant_frames,
        progress=not config.quiet,
    )
    splits = {"train": run.scene.train, "test": run.scene.test}
    skipped = {"train": config.choice.skip_train, "test": config.choice.skip_test}
    for split, views in splits.items():
        if skipped[split] or variant_of(config):
            continue
        folder = results_folder(run_folder(config), split, run.iteration)
        evaluation = evaluate(run, views=views, folder=folder, options=options)
        if split == "test":
            path = write_json(run_folder(config) / "mean_metrics.json", upstream_metrics(evaluation))
            evaluation = replace(evaluation, files=(*evaluation.files, path))
        yield split, evaluation


def render_novel_views(run: Run, config: RenderConfig) -> tuple[Path, ...]:
    """Videos of every frame from the held-out cameras, moved up or with another focal length; returns the files.

    No scores: no camera filmed these images.
    """
    folder = results_folder(run_folder(config), "test", run.iteration, variant=variant_of(config))
    view_frames = [(view, frame) for view in run.scene.test for frame in range(run.scene.num_frames)]
    names = [expert.name for expert in run.experts]
    with Images(folder, names, videos=True, images=config.choice.save_img) as images:
        for view, frame in tqdm(
            view_frames, desc=f"render {folder.name}", unit="frame", leave=False, disable=config.quiet
        ):
            mixture = mix_camera(run, novel_camera(run, view, config), frame)
            wait(run.compute)
            images.write(f"{run.scene.views[view].name}_{frame:05d}", mixture)
    return images.files


def novel_camera(run: Run, view: int, config: RenderConfig) -> Camera:
    """The camera of a view after --y_offset and --focal_mm."""
    camera, novel = run.scene.views[view].camera, config.novel_view
    if novel.y_offset is not None:
        camera = shifted(camera, novel.y_offset * rig_up(run.scene.views))
    if novel.focal_mm is not None:
        camera = with_focal_mm(camera, novel.focal_mm)
    return camera
