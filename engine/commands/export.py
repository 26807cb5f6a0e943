"""Export a run or an expert: python moegs.py export SAVE_PATH --to FILE, or --layout upstream --out FOLDER."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from common.text.suggestions import hint
from common.text.tables import Column, table_lines
from common.text.wording import counted
from engine.errors import ConfigError
from engine.export.formats import Format, format_of
from engine.export.job import Export
from engine.export.measure import Measured
from engine.export.quality import QUALITIES
from engine.export.writing import size_of, write_export
from engine.outputs.upstream_layout import write_upstream_layout
from engine.outputs.video import FPS
from engine.runs.alone import alone_at
from engine.runs.experts.pictures import refuse_pictures
from engine.runs.lone_expert import lone_expert_run
from engine.runs.run import Run
from engine.runs.saved.checkpoint import saved_experts
from engine.runs.saved.loading import load_run, trained_config
from engine.runs.saved.parts import parts_of_run
from engine.settings.export import PAGE_MEGABYTES, ExportConfig, Layout, check_export_config, read_export_settings
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.parsing.fields import values_of
from engine.settings.parsing.paths import check_apart
from engine.settings.training.experts import ensemble_and_folders, folders_by_name, named_expert, named_others
from experts import Expert
from scenes import Scene
from scenes.points.start import start_points_in

logger = logging.getLogger(__name__)

SMALLER = "give a smaller --megabytes, or --content NAME for one expert, or make the run smaller with moegs.py prune"
# By --layout: writes a run with its settings below a new folder, and returns that.
LAYOUTS: Mapping[Layout, Callable[[Run, Path, Mapping[str, object]], Path]] = {"upstream": write_upstream_layout}
COLUMNS = (Column(gap=0, left=True), Column(heading="PSNR, dB", gap=2), Column(heading="to its source", gap=2))


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes a run or an expert for other programs; returns the exit code."""
    config = read_export_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    check_export_config(config)
    check_kept(config, inputs_of(config))
    if config.to is None:
        assert config.out is not None, "the settings were checked"
        out = config.out.resolve()  # a link stays, and its folder is filled
        with alone_at(out, "--out"):
            return _export_layout(config, out)
    kind = format_of(config.to)
    to = config.to.resolve() if kind.folder else config.to
    with alone_at(to, "--to", new_folder=kind.folder):
        return _export_file(config, kind, to)


def _export_file(config: ExportConfig, kind: Format, to: Path) -> int:
    """Writes a file, or a folder of one a frame, that no other command writes."""
    check_content(config, together=kind.content)
    run = open_run(config)
    frame, megabytes = config.frame or 0, PAGE_MEGABYTES if config.megabytes is None else config.megabytes
    expert = expert_of(run, config.content, together=kind.content)
    content = kind.content if expert is None else expert.name
    export = Export(
        run=run,
        expert=expert,
        quality=QUALITIES[config.quality or "high"],
        smaller=QUALITIES["small"] if config.quality is None else None,
        megabytes=None if megabytes == "none" else megabytes,
        fps=float(run.scene.frame_rate or FPS),
        frame=frame,
        progress=not config.quiet,
    )
    facts = {"content": content, "iteration": run.iteration, "quality": export.quality.name}
    frames = run.scene.num_frames if config.test_frames == -1 else config.test_frames
    found = write_export(export, kind, to, frames=frames, facts=facts)
    size = size_of(to)
    print(*loss_lines(found), sep="\n")
    print(f"written: {to} ({size:.{1 if size >= 10 else 2}f} MB, {content})")
    if to.suffix.lower() == ".html" and size > PAGE_MEGABYTES:
        logger.warning("%s: more than %d MB, which phones may not open; %s", to, PAGE_MEGABYTES, SMALLER)
    return 0


def check_content(config: ExportConfig, *, together: str) -> None:
    """Raises ConfigError where the run or the expert does not have the content that is asked for; nothing is loaded."""
    if config.run is None:
        names: Sequence[str] = ensemble_and_folders(config.overrides.expert)[0].experts
    else:
        iteration = None if config.iteration == -1 else config.iteration
        names = named_others(saved_experts(config.run, iteration), config.without)
    if names:  # none are left by --without: opening the run says so
        content_of(names, config.content, together=together)


def inputs_of(config: ExportConfig) -> list[Path]:
    """The files and folders of the run, or of the one expert, that is exported; no tensors are read."""
    if config.run is None:
        return list(ensemble_and_folders(config.overrides.expert)[1].values())
    iteration = None if config.iteration == -1 else config.iteration
    moved = folders_by_name(config.overrides.expert, saved_experts(config.run, iteration))
    return parts_of_run(config.run, iteration, moved)


def check_kept(config: ExportConfig, inputs: Sequence[Path]) -> None:
    """Raises ConfigError where what is to be written would change what is read."""
    check_apart("--to", config.to, inputs)
    check_apart("--out", config.out, inputs)


def check_scene(scene: Scene, *, config: ExportConfig) -> None:
    """Raises ConfigError where the clip has no such frame, or the export would replace the scene's start points."""
    check_kept(config, start_points_in(scene.root))
    frame = config.frame or 0
    if frame >= scene.num_frames:
        raise ConfigError(f"--frame is {frame}: the clip has {counted(scene.num_frames, 'frame')}, from 0")


def open_run(config: ExportConfig) -> Run:
    """The run of checked settings, or that of one expert alone, with the frames of its held-out cameras."""
    given, check = values_of(config.overrides), partial(check_scene, config=config)
    if config.run is None:
        refuse_pictures(ensemble_and_folders(config.overrides.expert)[0].experts, "there is nothing to export")
        run = lone_expert_run(given | {"load_iteration": config.iteration, "quiet": config.quiet}, check=check)
        run.scene.frames.prepare(run.scene.test or run.scene.train[:1])
        return run
    iteration = None if config.iteration == -1 else config.iteration
    experts = named_others(saved_experts(config.run, iteration), config.without)
    exported = [named_expert(config.content, experts) or ""] if config.content else experts
    refuse_pictures(exported, "no file can hold it; export the others with --without, or one of them with --content")
    overrides = given | {"without": config.without}
    return load_run(config.run, iteration=iteration, overrides=overrides, needed="test", check=check)


def expert_of(run: Run, asked: str, *, together: str) -> Expert | None:
    """The expert of a run that is asked for, None for all together; ConfigError naming the nearest where there is none.

    together: the name of what a file holds of all experts.
    """
    experts = {expert.name: expert for expert in run.experts}
    return experts.get(content_of(list(experts), asked, together=together))


def content_of(experts: Sequence[str], asked: str, *, together: str) -> str:
    """The name of what is asked for: an expert's, or that of all together; ConfigError naming the nearest else."""
    if len(experts) == 1 and not asked:
        return experts[0]
    names = [*experts, *([together] if len(experts) > 1 else [])]
    known = {name.lower(): name for name in names}
    if (asked or together).lower() not in known:
        raise ConfigError(f"--content {asked}: no such expert here; {hint(asked, names)}")
    return known[(asked or together).lower()]


def loss_lines(found: Measured) -> list[str]:
    """A table of PSNR: of the source, of what was made of it, and of the file."""
    rows = [
        [name, f"{value:.2f}", f"{found.source[name]:.1f}" if name in found.source else ""]
        for name, value in found.truth.items()
    ]
    where = f"mean over {counted(found.cameras, 'camera')}, {counted(found.frames, 'frame')} of each"
    change = f"{found.lost:.2f} dB are lost" if found.lost > 0 else "nothing is lost"
    return [*table_lines(COLUMNS, rows), f"PSNR: {where}; {change}"]


def _export_layout(config: ExportConfig, out: Path) -> int:
    assert config.run is not None, "the settings were checked"
    iteration = None if config.iteration == -1 else config.iteration
    experts = named_others(saved_experts(config.run, iteration), config.without)
    refuse_pictures(experts, "the paper's layout has no place for it; export the others with --without")
    run = load_run(
        config.run,
        iteration=iteration,
        overrides=values_of(config.overrides) | {"device": "cpu", "without": config.without},
        needed="test",
    )
    try:
        folder = LAYOUTS[config.layout](run, out, upstream_settings(run, config.run))
    except ValueError as error:
        raise ConfigError(f"{out}: {error}") from error
    names = ", ".join(expert.name for expert in run.experts)
    print(f"written: {folder} (iteration {run.iteration}; experts {names})")
    return 0


def upstream_settings(run: Run, save_path: Path) -> dict[str, object]:
    """The run's settings under upstream's names, as its cfg_args holds them."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values_of(trained_config(save_path, layout=run.scene.layout)).items()
        if value is not None
    }
    return settings | {
        "source_path": str(run.scene.root.absolute()),
        "duration": run.scene.num_frames,
        "start_timestamp": run.scene.start,
        "rgbfunction": run.router.head_kind,
        "temperature": run.router.temperature,
        "eval_temperature": run.router.eval_temperature,
    }
