"""Everything beyond the six scripts: python moegs.py <command>; --help lists the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks import training_step as profile
from demo import commands as demo_commands
from engine.commands import prepare, train_expert
from engine.errors import ConfigError
from engine.settings.command_line import run_command
from engine.settings.config_file import nearest

# Command: what it does, and the function that does it with the arguments after its name.
COMMANDS: dict[str, tuple[str, Callable[..., int]]] = {
    "prepare": ("Prepare a scene: cameras and start points from n3v, technicolor or any videos.", prepare.command),
    "train-expert": (train_expert.ABOUT, train_expert.command),
    "demo-scene": ("Film a small ray-traced scene in the N3V layout.", demo_commands.scene_command),
    "demo-report": ("Compare a rendered run's mixture with its experts.", demo_commands.report_command),
    "demo-figure": ("Draw one frame of a run: truth, experts, mixture, gates.", demo_commands.figure_command),
    "profile-step": ("Time the stages of one training step on random experts.", profile.command),
}


def main(argv: Sequence[str]) -> int:
    """Runs a command: its exit code, or 2 with one line where there is no such command."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {command:{width}}  {about}" for command, (about, _) in COMMANDS.items()]
        print("usage: python moegs.py COMMAND [--help | FLAGS]", "", *lines, sep="\n")
        return 0
    return run_command(lambda: _run(name, argv[1:]), argv)


def _run(name: str, arguments: Sequence[str]) -> int:
    if name not in COMMANDS:
        close = nearest(name, COMMANDS)
        raise ConfigError(f"no command {name!r}; {f'did you mean {close}?' if close else 'see --help'}")
    about, command = COMMANDS[name]
    return command(arguments, prog=f"moegs.py {name}", description=about)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
