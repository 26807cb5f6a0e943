"""Export a trained run: python moegs.py export SAVE_PATH --layout upstream --out FOLDER."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from engine.errors import ConfigError
from engine.outputs.upstream_layout import write_upstream_layout
from engine.runs.run import Run
from engine.runs.saved import load_run, trained_config
from engine.settings.command_line import set_up_logging
from engine.settings.exchange import Layout, read_export_settings
from engine.settings.fields import values_of
from engine.settings.paths import check_folder, check_target
from engine.settings.render import check_moved

# By --layout: writes a run with its settings below a new folder, and returns that.
EXPORTS: Mapping[Layout, Callable[[Run, Path, Mapping[str, object]], Path]] = {"upstream": write_upstream_layout}


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes a run in another layout; returns the exit code."""
    config = read_export_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    assert config.run is not None and config.out is not None, "both are required"
    check_folder("SAVE_PATH", config.run)
    check_target("--out", config.out)
    check_moved(config)
    run = load_run(
        config.run,
        iteration=None if config.iteration == -1 else config.iteration,
        overrides={"source_path": config.source_path, "expert": config.expert, "device": "cpu"},
        needed="test",
    )
    try:
        folder = EXPORTS[config.layout](run, config.out, upstream_settings(run, config.run))
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
