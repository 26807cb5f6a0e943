"""The command demo-scene of moegs.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.deferred import deferred
from engine.settings.parsing.command_help import DEBUG, CommandHelp, flag
from engine.settings.parsing.command_line import parse, set_up_logging
from engine.settings.parsing.paths import check_target

write_scene = deferred("demo.playroom:write_scene")


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneConfig:
    """Settings of demo-scene."""

    folder: Annotated[tyro.conf.Positional[Path], flag("folder to write the scene to", metavar="FOLDER")] = Path(
        "output/demo/playroom"
    )
    debug: Annotated[bool, flag(DEBUG)] = False


def scene_command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Films the scene into a folder; the exit code."""
    page = CommandHelp(prog=prog, about=description, examples=(f"python {prog} output/demo/playroom",))
    config = parse(SceneConfig, argv, defaults=SceneConfig(), page=page)
    set_up_logging(quiet=False, debug=config.debug)
    check_target("FOLDER", config.folder)
    write_scene(config.folder)
    return 0
