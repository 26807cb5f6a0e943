"""Write the report of a rendered run or a trained expert: python moegs.py report SAVE_PATH."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.disk.files import replacing
from common.text.wording import file_size_text
from engine.errors import ConfigError
from engine.evaluation.scoring import evenly_spread
from engine.outputs.files import REPORT_FILE
from engine.outputs.frame_images import FrameImages, images_from_pngs
from engine.reporting.against_experts import report_lines, verdict_line, verdict_of
from engine.reporting.comparison import frame_name, mean_differences
from engine.reporting.opening import run_of_results
from engine.reporting.pages.expert_page import expert_page, expert_reports
from engine.reporting.pages.run_frames import images_from_run
from engine.reporting.pages.run_page import RunReport, run_page
from engine.reporting.pages.worth import Worth, measure_worth
from engine.reporting.results import Results, read_results
from engine.runs.run import Run
from engine.runs.saved.checkpoint import saved_iterations
from engine.runs.saved.parts import results_in
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.config_file import read_object
from engine.settings.parsing.paths import check_apart
from engine.settings.results.report import ReportConfig, check_report_config, read_report_settings
from engine.settings.results.verify import overrides_of
from engine.settings.training.train import CONFIG_FILE
from engine.training.curve import CURVE_FILE, read_curve
from experts.base import CheckpointError
from scenes.types import SceneError

logger = logging.getLogger(__name__)

LOST = 1  # exit code with --require_win where the mixture is not better than its experts and the uniform mean

UNOPENED = "The run cannot be opened: "  # begins what a page says of a run whose scene or experts are missing


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes the page, prints a run's scores against its experts, and the page's path; the exit code."""
    config = read_report_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    folder = check_report_config(config)
    check_apart("--out", config.out, results_in(folder))
    is_expert = not saved_iterations(folder) and bool(expert_reports(folder))
    if is_expert and config.require_win:
        raise ConfigError(f"--require_win compares a run with its experts, and {folder} holds an expert: leave it out")
    report = None if is_expert else collect(config, folder)
    target = config.out or folder / REPORT_FILE
    verdict = None if report is None else verdict_of(report.results)
    if verdict is not None:
        print(*report_lines(verdict), verdict_line(verdict), sep="\n")
    if report is not None:
        _keep_fuller(target, report)
    text = expert_page(folder) if report is None else run_page(report)
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"written: {target} ({file_size_text(target.stat().st_size)})")
    return LOST if config.require_win and verdict is not None and not verdict.wins else 0


def _keep_fuller(target: Path, report: RunReport) -> None:
    """Raises ConfigError where a page of a run that could be opened would be replaced by one of which it cannot."""
    unopened = report.missing.startswith(UNOPENED)
    if unopened and target.is_file() and UNOPENED not in target.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(
            f"{target}: is kept, as a new page would show less. {report.missing}; or write one without new images with "
            "--out FILE"
        )


def collect(config: ReportConfig, save_path: Path) -> RunReport:
    """Reads a run's results, and renders the images that its page shows; they are left out where that fails."""
    results = read_results(save_path, iteration=None if config.iteration == -1 else config.iteration)
    _check_means(results, required=config.require_win)
    run, missing = (None, "Nothing was rendered (--frames 0).") if config.frames == 0 else _opened(config, results)
    worth = None if run is None else _worth(run, results, config)
    return RunReport(
        save_path=save_path,
        results=results,
        settings=read_object(save_path / CONFIG_FILE) if (save_path / CONFIG_FILE).is_file() else {},
        curve=read_curve(save_path / CURVE_FILE),
        frames=_frames(run, results),
        worth=worth,
        missing=missing,
    )


def _check_means(results: Results, *, required: bool) -> None:
    """Warns of means that the frames contradict; ConfigError where a decision depends on the means."""
    wrong = list(mean_differences(results))
    if wrong and required:
        raise ConfigError(f"--require_win: {wrong[0]}; render the run again")
    for difference in wrong:
        logger.warning("%s; render the run again", difference)


def _opened(config: ReportConfig, results: Results) -> tuple[Run | None, str]:
    """The run, or None and the reason why it cannot be opened."""
    assert config.save_path is not None, "required"
    try:
        run = run_of_results(config.save_path, results, overrides_of(config))
        cameras = results.cameras
        run.scene.frames.prepare([index for index, view in enumerate(run.scene.views) if view.name in cameras])
    except (ConfigError, SceneError, CheckpointError) as error:
        logger.warning("the report shows no new images, because the run cannot be opened: %s", error)
        return None, f"{UNOPENED}{error}"
    return run, ""


def _worth(run: Run, results: Results, config: ReportConfig) -> Worth:
    entries = [results.per_frame[index] for index in evenly_spread(len(results.per_frame), config.frames)]
    view_frames = [(_view(run, entry), int(entry["frame"])) for entry in entries]
    return measure_worth(run, view_frames, quiet=config.quiet)


def _frames(run: Run | None, results: Results) -> dict[str, FrameImages]:
    """Images of the best and the worst frame by caption, rendered or read."""
    shown: dict[str, FrameImages] = {}
    chosen: dict[str, Mapping[str, Any]] = {}
    for label in ("best", "worst"):
        entry = results.facts.get(f"{label}_frame")
        if entry and frame_name(entry) not in {frame_name(other) for other in chosen.values()}:
            chosen[label] = entry
    for label, entry in chosen.items():
        if run is None:
            images = images_from_pngs(results.folder, frame_name(entry), results.experts)
        else:
            images = images_from_run(run, _view(run, entry), int(entry["frame"]))
        if images is not None:
            place = f"camera {entry['camera']}, frame {entry['frame']}"
            shown[f"{label.capitalize()} frame in PSNR: {place}, {float(entry['psnr']):.2f} dB"] = images
    return shown


def _view(run: Run, entry: Mapping[str, Any]) -> int:
    return next(index for index, view in enumerate(run.scene.views) if view.name == entry["camera"])
