"""The paper's scripts, one per ensemble: --help is answered before the command, and with it PyTorch, is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.deferred import deferred
from common.signals import interrupted_in_one_line

# By verb: what reads the settings, and shows the help; what runs the command.
SCRIPTS = {
    "train": (deferred("engine.settings.training.train:read_train_settings"), deferred("engine.commands.train:main")),
    "render": (
        deferred("engine.settings.rendering.render:read_render_settings"),
        deferred("engine.commands.render:main"),
    ),
}


def script(verb: str, ensemble_name: str) -> int:
    """Run a script with the arguments of this process: its exit code."""
    with interrupted_in_one_line():
        return _run(verb, ensemble_name, sys.argv[1:])


def _run(verb: str, ensemble_name: str, arguments: Sequence[str]) -> int:
    from engine.settings.parsing.command_line import asks_for_help, exit_code  # here: an interrupt of it is one line
    from router import ENSEMBLES

    settings, main = SCRIPTS[verb]
    if not asks_for_help(arguments):
        return int(main(ensemble_name, arguments))
    with exit_code(arguments) as code:
        settings(ENSEMBLES[ensemble_name], arguments)  # ends the process
    return code.value
