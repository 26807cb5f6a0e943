"""Settings of `moegs.py export` and `moegs.py import`: runs to and from other layouts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from engine.settings.command_line import flag
from router.heads import DEFAULT_HEAD, HeadKind

Layout = Literal["upstream"]  # a row of engine.commands.export's EXPORTS each


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of an export."""

    run: Annotated[tyro.conf.Positional[Path | None], flag("folder of the trained run", metavar="SAVE_PATH")] = None
    layout: Annotated[
        Layout, flag("upstream: as the paper's code saves a run (PLY columns, head weights, cfg_args)")
    ] = "upstream"
    out: Annotated[Path | None, flag("new folder to write; required", metavar="PATH")] = None
    iteration: Annotated[int, flag("saved iteration; -1: the newest")] = -1
    source_path: Annotated[Path | None, flag("folder of the scene, if it was moved", "-s", metavar="PATH")] = None
    expert: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], flag("folder of an expert that was moved", metavar="NAME=PATH")
    ] = ()
    quiet: Annotated[bool, flag("show warnings only")] = False
    debug: Annotated[bool, flag("show the traceback of an error")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportConfig:
    """Settings of an import."""

    folder: Annotated[
        tyro.conf.Positional[Path | None], flag("folder that the paper's code saved a run in", metavar="FOLDER")
    ] = None
    save_path: Annotated[Path | None, flag("folder of the run to make; required", metavar="PATH")] = None
    source_path: Annotated[
        Path | None,
        flag("folder of the scene; default: the one that cfg_args names", "-s", metavar="PATH"),
    ] = None
    iteration: Annotated[int, flag("iteration to import; -1: the newest")] = -1
    rgbfunction: Annotated[
        HeadKind | None,
        flag(f"kind of the head; default: the one of cfg_args, else {DEFAULT_HEAD}", metavar="NAME"),
    ] = None
    temperature: Annotated[
        float | None, flag("training temperature; default: the one of cfg_args, else 0.01", metavar="FLOAT")
    ] = None
    eval_temperature: Annotated[
        float | None, flag("softmax temperature of renders; default: the one of cfg_args, else 1", metavar="FLOAT")
    ] = None
    quiet: Annotated[bool, flag("show warnings only")] = False
    debug: Annotated[bool, flag("show the traceback of an error")] = False
