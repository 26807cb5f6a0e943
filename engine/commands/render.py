"""The commands render_<ensemble>.py: a trained run's splits with metrics and videos, or its novel views as videos."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from common import ranks
from common.disk.files import write_json
from common.text.wording import script_command
from engine.checks.judging import POOR, judge
from engine.checks.verdict import log_verdict
from engine.errors import ConfigError
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.mixture_results import Evaluation, evaluation_summary, upstream_metrics
from engine.evaluation.mixture_time import scoring_seconds
from engine.evaluation.rivals.twins import open_twins
from engine.outputs.encoders import check_encoder
from engine.outputs.files import results_folder
from engine.outputs.novel_views import check_pictures, novel_shots, render_novel_views
from engine.outputs.render_writer import MIXTURE
from engine.reporting.results import METRICS_FILE, read_results
from engine.reporting.seed_spread import spread_lines
from engine.runs.alone import sweep_leftovers
from engine.runs.cost import log_cost, rendering_cost
from engine.runs.experts.pictures import decode_pictures
from engine.runs.run import Run, blended_fast
from engine.runs.saved.checkpoint import saved_ensemble, saved_iterations
from engine.runs.saved.loading import load_run
from engine.runs.saved.seeds import trained_seeds
from engine.runs.scene import any_scene, decode
from engine.runs.trial import WorkTime, must_decode
from engine.settings.parsing.command_line import exit_code, set_up_logging
from engine.settings.parsing.config_file import read_object
from engine.settings.parsing.fields import with_values
from engine.settings.rendering.metric_protocols import OF_CLIPS
from engine.settings.rendering.overrides import AnyOverridesConfig
from engine.settings.rendering.render import (
    RenderConfig,
    Split,
    overrides_of,
    read_any_render_settings,
    read_render_settings,
    run_folder,
    splits_of,
    variant_of,
)
from engine.settings.rendering.render_checks import check_render_config, check_render_paths
from engine.settings.training.experts import BY_NAME
from engine.settings.training.train import CONFIG_FILE
from experts import Expert
from router import ENSEMBLES, Ensemble, render_command
from scenes import needed_views

logger = logging.getLogger(__name__)


def main(ensemble_name: str, argv: Sequence[str] | None = None) -> int:
    """The command `render_<ensemble>.py`: its exit code. argv None: the arguments of this process."""
    arguments = sys.argv[1:] if argv is None else argv
    ensemble = ENSEMBLES[ensemble_name]
    with exit_code(arguments) as code:
        code.value = render_run(read_render_settings(ensemble, arguments), ensemble)
    return code.value


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Renders and scores a run of any experts; returns the exit code."""
    return render_run(read_any_render_settings(argv, prog=prog, description=description))


def render_run(config: RenderConfig, ensemble: Ensemble | None = None) -> int:
    """Renders a run, or each seed's run and then the spread of their scores; the exit code.

    Each split is scored, or else novel views are rendered. ensemble: the run's, None where any is allowed.
    """
    set_up_logging(quiet=config.quiet, debug=config.debug)
    check_render_config(config, ensemble)
    check_render_paths(config)
    check_encoder(config.run.encoder)
    folders = chosen_runs(config)
    for folder in folders:
        if ranks.is_first():
            sweep_leftovers(folder)
        render_one(with_values(config, {"save_path": folder}), ensemble)
    if folders != [run_folder(config)] and ranks.is_first():
        print_seeds(config, folders)
    return 0


def chosen_runs(config: RenderConfig) -> list[Path]:
    """The run's folder, or those of the seeds that the settings choose; ConfigError where these do not fit together."""
    save_path, wanted = run_folder(config), config.run.seeds
    seeds = trained_seeds(save_path)
    if wanted is not None and len(seeds) < wanted:
        held = f"{len(seeds)} of a training with --seeds" if seeds else "none of a training with --seeds"
        raise ConfigError(f"--seeds is {wanted}: {save_path} holds {held}; give as many, or leave it out")
    asked = read_object(save_path / CONFIG_FILE).get("seeds") if seeds and (save_path / CONFIG_FILE).is_file() else None
    if asked is not None and wanted is None and len(seeds) < asked:
        logger.warning("%s: %d of %d seeds are trained; continue with --resume", save_path, len(seeds), asked)
    chosen = seeds[:wanted]
    newest = {folder.name: saved_iterations(folder)[-1] for folder in chosen}
    if config.run.iteration == -1 and len(set(newest.values())) > 1:
        reached = ", ".join(f"{name} {iteration}" for name, iteration in newest.items())
        raise ConfigError(
            f"{save_path}: the seeds reached different iterations: {reached}; continue the training with --resume, "
            "or give --iteration"
        )
    return chosen or [save_path]


def print_seeds(config: RenderConfig, folders: Sequence[Path]) -> None:
    """Prints mean and spread of the scores over seeds, and the command that makes a table of them."""
    for split in splits_of(config):
        iteration = None if config.run.iteration == -1 else config.run.iteration
        results = [read_results(folder, split=split, iteration=iteration) for folder in folders]
        print(*spread_lines(results, split), sep="\n", end="\n\n")
    if "test" in splits_of(config):
        print("to put the seeds into a table:", script_command("moegs.py", "table", run_folder(config)))


def render_one(config: RenderConfig, ensemble: Ensemble | None) -> None:
    """Renders the run of one folder, and prints scores and files."""
    run, twins = open_run(config, ensemble)
    files = list(render_novel_views(run, config)) if variant_of(config) else []
    for split in splits_of(config):
        evaluation = evaluate_split(run, split, config, twins=twins)
        print(evaluation_summary(split, evaluation), end="\n\n")
        _warn_of_low_scores(run, split, evaluation)
        files += evaluation.files
    print("written:", *files, sep="\n  ")
    _print_next(run, config)


def _print_next(run: Run, config: RenderConfig) -> None:
    """Prints the commands that show the run: the report, where there are scores to report, and the figure."""
    chosen = (run_folder(config), *(() if config.run.iteration == -1 else ("--iteration", run.iteration)))
    if (results_folder(run_folder(config), "test", run.iteration) / METRICS_FILE).is_file():
        print("to see it as a page:", script_command("moegs.py", "report", *chosen))
    print("to see one frame with experts and gates:", script_command("moegs.py", "figure", *chosen))


def open_run(config: RenderConfig, ensemble: Ensemble | None = None) -> tuple[Run, dict[str, Expert]]:
    """The saved run that checked settings choose, the frames that it is scored on decoded, and its twins by name.

    ConfigError where the run is of another ensemble.
    """
    iteration = None if config.run.iteration == -1 else config.run.iteration
    if ensemble is not None:
        _check_ensemble(run_folder(config), iteration, ensemble)
    check = partial(novel_shots, config=config) if variant_of(config) else any_scene
    flag = BY_NAME if isinstance(config.overrides, AnyOverridesConfig) else None
    overrides = overrides_of(config)
    run = load_run(run_folder(config), iteration=iteration, overrides=overrides, needed="none", check=check, flag=flag)
    if variant_of(config):
        check_pictures(run, config)
    run = blended_fast(run) if config.fast else run
    twins = open_twins(run, run_folder(config), config.metrics.twin, overrides) if config.metrics.twin else {}
    splits = splits_of(config)
    views = [view for split in splits for view in needed_views(run.scene, split)]  # novel views show no frame
    decode_pictures(run.experts)  # before the trial, which shows them
    folder, pngs = run_folder(config), config.run.save_img
    cost = rendering_cost(run, views or run.scene.test, results=folder, pngs=pngs, scored=bool(splits))
    log_cost(replace(cost, time=_scoring_time(run, views, config, twins)))
    decode(run.scene, views)
    log_verdict(judge(run.scene, run.experts, clips={}, compute=run.compute, novel=run.novel), run.scene)
    return run, twins


def _scoring_time(run: Run, views: Sequence[int], config: RenderConfig, twins: Mapping[str, Expert]) -> WorkTime | None:
    """The time of rendering and scoring views, by a few black frames; None: progress will tell soon.

    Metrics of whole clips are not tried, as they alone take minutes. Of several ranks the first one tries.
    """
    if not views or not ranks.is_first() or not must_decode(run.scene, views):
        return None
    asked = config.metrics.metrics
    tried = tuple(name for name in asked if name not in OF_CLIPS)
    options = replace(evaluation_options(config, twins), metrics=tried)
    with ranks.apart():
        _, each = scoring_seconds(run, views[0], options)
    note = "".join(f", without {name}" for name in asked if name in OF_CLIPS)
    count = len(ranks.block(len(views) * run.scene.num_frames))
    return WorkTime(work="scoring", step="frame", count=count, seconds_each=each, note=note)


def _warn_of_low_scores(run: Run, split: Split, evaluation: Evaluation) -> None:
    """Warns where not even the mixture shows what the cameras filmed."""
    psnr = evaluation.means[MIXTURE]["psnr"]
    if psnr is not None and psnr < POOR:
        logger.warning(
            "%s: the %s cameras reach %.1f dB only; their poses, footage or clip are likely not those of the training",
            run.scene.root,
            "training" if split == "train" else "held-out",
            psnr,
        )


def _check_ensemble(folder: Path, iteration: int | None, ensemble: Ensemble) -> None:
    """Raises ConfigError where a run is of another ensemble than a script's, before anything of it is loaded."""
    name = saved_ensemble(folder, iteration)
    if name != ensemble.name:
        own = ENSEMBLES.get(name, Ensemble(name=name, layout=None, experts=()))
        raise ConfigError(f"{folder}: a run of {name}; use {render_command(own)}")


def evaluation_options(config: RenderConfig, twins: Mapping[str, Expert]) -> EvaluationOptions:
    """The evaluation that the settings ask for."""
    return EvaluationOptions(
        images=config.run.save_img,
        maps=config.run.maps,
        encoder=config.run.encoder,
        lpips_weights=config.metrics.lpips_weights,
        protocol=config.metrics.metric_protocol,
        constant_frames=config.metrics.constant_frames,
        metrics=config.metrics.metrics,
        twins=twins,
        progress=not config.quiet,
    )


def evaluate_split(
    run: Run, split: Split, config: RenderConfig, *, twins: Mapping[str, Expert] = MappingProxyType({})
) -> Evaluation:
    """Evaluates the training or the held-out cameras. twins: second trainings of experts, by name.

    The held-out cameras' `mean_metrics.json` is also written to the run's folder, where upstream has it.
    """
    evaluation = evaluate_mixture(
        run,
        views=run.scene.train if split == "train" else run.scene.test,
        folder=results_folder(run_folder(config), split, run.iteration),
        options=evaluation_options(config, twins),
    )
    if split == "train" or not ranks.is_first():
        return evaluation
    path = write_json(run_folder(config) / "mean_metrics.json", upstream_metrics(evaluation))
    return replace(evaluation, files=(*evaluation.files, path))
