"""The commands beyond the six scripts, `python moegs.py COMMAND`, and the Python API, `import moegs`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from common.suggestions import hint
from engine.api import Camera, Rendering, camera_named, load_run, moved, recorded, render, save_image, with_focal_mm
from engine.errors import ConfigError
from engine.settings.command_line import exit_code

__all__ = [
    "COMMANDS",
    "Camera",
    "Command",
    "Rendering",
    "camera_named",
    "find_command",
    "load_run",
    "main",
    "moved",
    "recorded",
    "render",
    "save_image",
    "with_focal_mm",
]


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table of commands."""

    about: str
    location: str  # module:function, imported when the command is run

    def function(self) -> Callable[..., int]:
        """The function that runs the command with the arguments after its name."""
        module, _, name = self.location.partition(":")
        function: Callable[..., int] = getattr(import_module(module), name)
        return function


COMMANDS = {
    "prepare": Command("Prepare a scene: its cameras and start points.", "engine.commands.prepare:command"),
    "train-expert": Command("Train one of the experts on a scene.", "engine.commands.train_expert:command"),
    "train": Command("Train a router that blends any experts.", "engine.commands.train:command"),
    "render": Command("Render and score a run of any experts.", "engine.commands.render:command"),
    "export": Command("Write a run as the paper's own code saves it.", "engine.commands.export:command"),
    "import": Command("Make a run of a folder that the paper's code saved.", "engine.commands.import_run:command"),
    "demo-scene": Command("Film a small ray-traced scene in the N3V layout.", "demo.commands:scene_command"),
    "demo-report": Command("Compare a rendered run's mixture with its experts.", "demo.commands:report_command"),
    "demo-figure": Command("Draw one frame of a run: truth, experts, mixture, gates.", "demo.commands:figure_command"),
    "profile-step": Command(
        "Time the stages of one training step on random experts.", "benchmarks.training_step:command"
    ),
}


def main(argv: Sequence[str]) -> int:
    """Runs a command: its exit code, or 2 with one line where there is no such command."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {command:{width}}  {row.about}" for command, row in COMMANDS.items()]
        print("usage: python moegs.py COMMAND [--help | FLAGS]", "", *lines, sep="\n")
        return 0
    with exit_code(argv) as code:
        command = find_command(name)
        code.value = command.function()(argv[1:], prog=f"moegs.py {name}", description=command.about)
    return code.value


def find_command(name: str) -> Command:
    """A command's row; ConfigError naming the nearest where there is none of that name."""
    if name not in COMMANDS:
        raise ConfigError(f"no command {name!r}; {hint(name, COMMANDS, otherwise='see --help')}")
    return COMMANDS[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
