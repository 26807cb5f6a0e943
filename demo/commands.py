"""The commands demo-scene, demo-report and demo-figure of moegs.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.deferred import deferred
from engine.settings.command_help import DEBUG, CommandHelp, flag
from engine.settings.command_line import parse, set_up_logging
from engine.settings.paths import check_folder, check_target

write_figure = deferred("demo.figure:write_figure")
write_scene = deferred("demo.playroom:write_scene")
read_verdict = deferred("demo.report:read_verdict")
report_lines, verdict_line = deferred("demo.report:report_lines"), deferred("demo.report:verdict_line")

LOST = 1  # exit code where the mixture is not better than its best expert and the uniform mean


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneConfig:
    """Settings of demo-scene."""

    folder: Annotated[tyro.conf.Positional[Path], flag("folder to write the scene to", metavar="FOLDER")] = Path(
        "output/demo/playroom"
    )
    debug: Annotated[bool, flag(DEBUG)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Settings of demo-report."""

    save_path: Annotated[tyro.conf.Positional[Path], flag("folder of the rendered run", metavar="RUN")] = Path(
        "output/demo/run"
    )
    debug: Annotated[bool, flag(DEBUG)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureConfig:
    """Settings of demo-figure."""

    save_path: Annotated[tyro.conf.Positional[Path], flag("folder of the trained run", metavar="RUN")] = Path(
        "output/demo/run"
    )
    target: Annotated[tyro.conf.Positional[Path], flag("PNG file to write", metavar="PNG")] = Path(
        "output/demo/figure.png"
    )
    frame: Annotated[
        int | None, flag("frame to draw; default: the one where the experts differ most", metavar="INT")
    ] = None
    debug: Annotated[bool, flag(DEBUG)] = False


def _page(prog: str, about: str, arguments: str) -> CommandHelp:
    return CommandHelp(prog=prog, about=about, examples=(f"python {prog} {arguments}",))


def scene_command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Films the scene into a folder; the exit code."""
    config = parse(SceneConfig, argv, defaults=SceneConfig(), page=_page(prog, description, "output/demo/playroom"))
    set_up_logging(quiet=False, debug=config.debug)
    check_target("FOLDER", config.folder)
    write_scene(config.folder)
    return 0


def report_command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prints scores and verdict; exit code LOST where the mixture does not win."""
    config = parse(ReportConfig, argv, defaults=ReportConfig(), page=_page(prog, description, "output/demo/run"))
    check_folder("RUN", config.save_path)
    verdict = read_verdict(config.save_path)
    print(*report_lines(verdict), sep="\n")
    print(verdict_line(verdict))
    return 0 if verdict.wins else LOST


def figure_command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Writes the figure and prints its path; the exit code."""
    page = _page(prog, description, "output/demo/run output/demo/figure.png")
    config = parse(FigureConfig, argv, defaults=FigureConfig(), page=page)
    set_up_logging(quiet=True)
    check_folder("RUN", config.save_path)
    check_target("PNG", config.target, file=True)
    print(write_figure(config.save_path, config.target, frame=config.frame))
    return 0
