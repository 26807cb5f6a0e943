"""Export a run or an expert: python moegs.py export SAVE_PATH --to FILE, or --layout upstream --out FOLDER."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common.suggestions import hint
from common.tables import Column, table_lines
from common.wording import counted
from engine.errors import ConfigError
from engine.export.formats import QUALITIES, Export, format_of
from engine.export.fused import FUSED, Fused, mean_gates
from engine.export.measure import Measured
from engine.export.writing import log_loss, size_of, write_export
from engine.outputs.upstream_layout import write_upstream_layout
from engine.outputs.video import FPS
from engine.runs.lone_expert import lone_expert_run
from engine.runs.run import Run
from engine.runs.saved import load_run, trained_config
from engine.settings.command_line import set_up_logging
from engine.settings.export import ExportConfig, Layout, check_export_config, read_export_settings
from engine.settings.fields import values_of
from experts import Expert

# By --layout: writes a run with its settings below a new folder, and returns that.
LAYOUTS: Mapping[Layout, Callable[[Run, Path, Mapping[str, object]], Path]] = {"upstream": write_upstream_layout}
COLUMNS = (Column(gap=0, left=True), Column(heading="PSNR, dB", gap=2), Column(heading="to its source", gap=2))


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes a run or an expert for other programs; returns the exit code."""
    config = read_export_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    check_export_config(config)
    if config.to is None:
        return _export_layout(config)
    kind = format_of(config.to)
    run = open_run(config)
    content = content_of(run, config.content, progress=not config.quiet)
    fps = float(run.scene.frame_rate or FPS)
    export = Export(run=run, content=content, quality=QUALITIES[config.quality], fps=fps, progress=not config.quiet)
    facts = {
        "content": content.name,
        "experts": [expert.name for expert in run.experts],
        "iteration": run.iteration,
        "quality": config.quality,
    }
    frames = run.scene.num_frames if config.test_frames == -1 else config.test_frames
    found = write_export(export, kind, config.to, frames=frames, facts=facts)
    log_loss(found, config.to)
    print(*loss_lines(found), sep="\n")
    print(f"written: {config.to} ({size_of(config.to):.1f} MB, {content.name}, {config.quality} quality)")
    return 0


def open_run(config: ExportConfig) -> Run:
    """The run of checked settings, or that of one expert alone, with the frames of its held-out cameras."""
    given = values_of(config.overrides)
    if config.run is None:
        run = lone_expert_run(given | {"load_iteration": config.iteration, "quiet": config.quiet})
        run.scene.frames.prepare(run.scene.test or run.scene.train[:1])
        return run
    iteration = None if config.iteration == -1 else config.iteration
    return load_run(config.run, iteration=iteration, overrides=given, needed="test")


def content_of(run: Run, asked: str, *, progress: bool) -> Expert:
    """What to export: an expert of the run, or the fused scene; ConfigError naming the nearest where there is none."""
    names = {expert.name.lower(): expert for expert in run.experts}
    if len(run.experts) > 1 and asked.lower() in ("", FUSED):
        return Fused(run.experts, mean_gates(run, progress=progress))
    if not asked:
        return run.experts[0]
    if asked.lower() not in names:
        known = [expert.name for expert in run.experts] + ([FUSED] if len(run.experts) > 1 else [])
        raise ConfigError(f"--content {asked}: the run has no such expert; {hint(asked, known)}")
    return names[asked.lower()]


def loss_lines(found: Measured) -> list[str]:
    """A table of PSNR: of the source, of what was made of it, and of the file."""
    rows = [
        [name, f"{value:.2f}", f"{found.source[name]:.1f}" if name in found.source else ""]
        for name, value in found.truth.items()
    ]
    where = f"mean over {counted(found.cameras, 'camera')}, {counted(found.frames, 'frame')} of each"
    return [*table_lines(COLUMNS, rows), f"PSNR: {where}; {found.lost:.2f} dB are lost"]


def _export_layout(config: ExportConfig) -> int:
    assert config.run is not None and config.out is not None, "the settings were checked"
    run = load_run(
        config.run,
        iteration=None if config.iteration == -1 else config.iteration,
        overrides=values_of(config.overrides) | {"device": "cpu"},
        needed="test",
    )
    try:
        folder = LAYOUTS[config.layout](run, config.out, upstream_settings(run, config.run))
    except ValueError as error:
        raise ConfigError(f"{config.out}: {error}") from error
    experts = ", ".join(expert.name for expert in run.experts)
    print(f"written: {folder} (iteration {run.iteration}; experts {experts})")
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
