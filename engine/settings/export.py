"""Settings of `moegs.py export`: a run or an expert, and the file or the layout to write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.text.wording import shell
from engine.errors import ConfigError
from engine.settings.node_tool import TOOL, tool
from engine.settings.parsing.command_help import DEBUG, QUIET, CommandHelp, flag
from engine.settings.parsing.command_line import parse
from engine.settings.parsing.paths import check_empty, check_folder, check_target
from engine.settings.rendering.overrides import WITHOUT, AnyOverridesConfig, check_moved, check_replaced

Layout = Literal["upstream"]  # a row of engine.commands.export's LAYOUTS each
QualityName = Literal["high", "small"]  # a row of engine.export.formats.QUALITIES each
PAGE_MEGABYTES = 30.0  # larger pages may not open on phones
LEAST_MEGABYTES = 0.2  # of the player, and some Gaussians
BY_NODE = (".sog", ".spz", ".glb")  # endings that splat-transform writes
SNAPSHOTS = (".ply", *BY_NODE)  # of one frame
PAGES = (".html",)
GRADED = (*PAGES, ".4dgs")  # with a --quality; the others are exact, or as exact as splat-transform
ENDINGS = (*GRADED, *SNAPSHOTS)  # of files
PACKAGES = {".4dgs": "fourdgs"}  # by the ending of --to, the package that writes it


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of an export."""

    run: Annotated[
        tyro.conf.Positional[Path | None],
        flag("folder of the trained run; without it, one --expert NAME=PATH", metavar="SAVE_PATH"),
    ] = None
    to: Annotated[
        Path | None,
        flag(
            "what to write, by its ending: NAME.html (a page that plays the mixture), NAME.4dgs (a file for players), "
            "no ending (a new folder with a PLY file for each frame), or NAME.ply, .sog, .spz, .glb (one frame)",
            metavar="PATH",
        ),
    ] = None
    content: Annotated[
        str,
        flag(
            "what to export: an expert by its name in the results; default: all of them, in a page as the mixture, in "
            "other files as fused (one scene of all Gaussians, as opaque as the gates make them)",
            metavar="NAME",
        ),
    ] = ""
    frame: Annotated[
        int | None, flag("with NAME.ply, .sog, .spz or .glb: the frame to write; default: 0", metavar="INT")
    ] = None
    quality: Annotated[
        QualityName | None,
        flag(
            "with NAME.html or NAME.4dgs: how exactly it holds the scene; small: the smaller file; default: high, and "
            "small for a page that would be much larger than --megabytes",
            metavar="{high,small}",
        ),
    ] = None
    megabytes: Annotated[
        float | Literal["none"] | None,
        flag(
            "with NAME.html: its largest size; where it would be larger, the Gaussians are left out that add least to "
            f"the images; none: any size; default: {PAGE_MEGABYTES:g}",
            metavar="{FLOAT,none}",
        ),
    ] = None
    test_frames: Annotated[
        int, flag("frames of each held-out camera by which the loss is measured, evenly spread; -1: all")
    ] = -1
    layout: Annotated[Layout, flag("with --out: file layout to write; upstream: that of the paper's own code")] = (
        "upstream"
    )
    out: Annotated[Path | None, flag("new folder to write in a --layout, in the place of --to", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration to export; -1: the newest")] = -1
    overrides: AnyOverridesConfig = field(default_factory=AnyOverridesConfig)
    without: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], flag(WITHOUT, metavar="NAME")] = ()
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


def export_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py export`."""
    return CommandHelp(
        prog=prog,
        about=about,
        examples=(
            f"python {prog} output/cook_spinach --to output/cook_spinach.html",
            f"python {prog} output/cook_spinach --content STG --to output/cook_spinach_stg.4dgs",
            f"python {prog} --expert STG=output/distilled --to output/cook_spinach_frames",
            f"python {prog} output/cook_spinach --out output/cook_spinach_upstream",
        ),
        texts={
            "expert": "folder of an expert that was moved; without SAVE_PATH: the one expert to export",
            "source_path": "folder of the scene, if it was moved, or the folder of --expert does not tell it",
        },
    )


def read_export_settings(arguments: Sequence[str], *, prog: str, description: str) -> ExportConfig:
    """Settings of `moegs.py export`; ConfigError for flags that it does not have."""
    return parse(ExportConfig, arguments, defaults=ExportConfig(), page=export_page(prog, description))


def check_export_config(config: ExportConfig) -> None:
    """Raises ConfigError for the first setting that cannot be used, and where a package is missing."""
    if (config.to is None) == (config.out is None):
        raise ConfigError(
            "nothing to write: give --to NAME.html, NAME.4dgs or FOLDER, or --out FOLDER for the paper's layout"
            if config.to is None
            else "--to and --out: give one of the two"
        )
    if config.run is None and (config.out is not None or len(config.overrides.expert) != 1):
        raise ConfigError(
            "nothing to export: give SAVE_PATH of a trained run, or with --to one expert with --expert NAME=PATH"
        )
    if config.run is None and config.without:
        raise ConfigError(f"--without {config.without[0]}: there is one expert alone; leave it out")
    check_folder("SAVE_PATH", config.run)
    check_target("--out", config.out)
    check_moved(config.overrides)
    check_replaced(config.overrides)
    if config.test_frames < 1 and config.test_frames != -1:
        raise ConfigError(f"--test_frames is {config.test_frames}: give 1 or more, or -1 for all")
    _check_fitting(config)
    if config.to is not None:
        _check_to(config.to)


def _check_fitting(config: ExportConfig) -> None:
    """Raises ConfigError for a setting that what is to be written does not have."""
    ending = None if config.to is None else config.to.suffix.lower()
    for name, endings in (("content", None), ("quality", GRADED), ("megabytes", PAGES), ("frame", SNAPSHOTS)):
        value = getattr(config, name)
        if value not in (None, "") and (ending is None or (endings is not None and ending not in endings)):
            goes = "--to" if endings is None else f"--to NAME{' or '.join(endings)}"
            raise ConfigError(f"--{name} {value}: goes with {goes} only; leave it out")
    if isinstance(config.megabytes, float) and not LEAST_MEGABYTES <= config.megabytes < math.inf:
        raise ConfigError(f"--megabytes is {config.megabytes:g}: give {LEAST_MEGABYTES} or more, or none for any size")
    if config.frame is not None and config.frame < 0:
        raise ConfigError(f"--frame is {config.frame}: give 0 or more")


def _check_to(path: Path) -> None:
    """Raises ConfigError where --to cannot be written, or its package is missing."""
    ending = path.suffix.lower()
    if path.name.lower() in ENDINGS:
        named = path.with_name(f"NAME{path.name}")
        raise ConfigError(f"{shell('--to', path)}: there is no name before the ending; give {shell('--to', named)}")
    check_target("--to", path, file=bool(ending))
    if not ending:
        check_empty("--to", path)
    package = PACKAGES.get(ending)
    if package is not None and find_spec(package) is None:
        raise ConfigError(
            f"--to {path}: {ending} needs the package {package}: run pip install -r requirements-export.txt "
            "-c constraints.txt"
        )
    if ending in BY_NODE and tool() is None:
        raise ConfigError(
            f"--to {path}: {ending} needs node and the program {TOOL}: run npm install @playcanvas/splat-transform here"
        )
