"""The commands beyond the scripts, `python moegs.py COMMAND`, and the Python API, `import moegs`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import ranks
from common.deferred import located
from common.signals import interrupted_in_one_line
from common.streams import kept_streams
from common.text.suggestions import hint

if TYPE_CHECKING:  # `__getattr__` imports them when they are asked for: PyTorch takes a second, --help needs none
    from engine.api import Camera, Rendering, camera_named, load_run, moved, recorded, render, save_image, with_focal_mm

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

    group: str
    about: str
    location: str  # module:function, imported when the command is run
    many_ranks: bool = False  # torchrun may start it

    def function(self) -> Callable[..., int]:
        """The function that runs the command with the arguments after its name."""
        function: Callable[..., int] = located(self.location)
        return function


RESULTS = "show, compare and check results"
TRAIN, EXCHANGE, TOOLS = "prepare, train and render", "exchange runs with other programs", "demo and tools"
COMMANDS = {
    "check": Command(TRAIN, "Check a scene and experts before the hours are spent.", "engine.commands.check:command"),
    "prepare": Command(TRAIN, "Find the cameras and start points of a scene.", "engine.commands.prepare:command"),
    "train-expert": Command(TRAIN, "Train one expert on a scene.", "engine.commands.train_expert:command", True),
    "train": Command(TRAIN, "Train the router for any set of experts.", "engine.commands.train:command", True),
    "render": Command(TRAIN, "Render and score a run of any set of experts.", "engine.commands.render:command", True),
    "run-all": Command(TRAIN, "Do all of this for every scene of a data set.", "engine.commands.run_all:command"),
    "auto": Command(TRAIN, "Do all of this for one scene within a budget.", "engine.commands.auto:command"),
    "prune": Command(TRAIN, "Make a run smaller and faster.", "engine.commands.prune:command"),
    "distill": Command(TRAIN, "Let one expert of a run learn from its mixture.", "engine.commands.distill:command"),
    "report": Command(
        RESULTS, "Compare a run with its experts, and show it as a page.", "engine.commands.report:command"
    ),
    "figure": Command(RESULTS, "Draw one frame of a run with experts and gates.", "engine.commands.figure:command"),
    "view": Command(RESULTS, "Show a run or an expert live in a browser.", "engine.commands.view:command"),
    "table": Command(RESULTS, "Put scores of several runs into one table.", "engine.commands.table:command"),
    "verify": Command(RESULTS, "Check a run's results against its files.", "engine.commands.verify:command"),
    "export": Command(EXCHANGE, "Write a run for players, or in the paper's layout.", "engine.commands.export:command"),
    "import": Command(EXCHANGE, "Read a run in the paper's file layout.", "engine.commands.import_run:command"),
    "doctor": Command(TOOLS, "Examine this installation, and say what to do.", "engine.commands.doctor:command"),
    "demo-scene": Command(TOOLS, "Write the demo's small ray-traced scene.", "demo.commands:scene_command"),
    "profile-step": Command(
        TOOLS, "Time the stages of a training iteration.", "benchmarks.training_step.command:command"
    ),
}
# By command, module:function that reads its settings and shows its help, where the module of the command needs PyTorch.
SETTINGS = {
    "check": "engine.settings.check:read_check_settings",
    "prepare": "engine.settings.prepare:read_prepare_settings",
    "train-expert": "engine.settings.training.train_expert_reading:read_expert_settings",
    "train": "engine.settings.training.train:read_any_train_settings",
    "run-all": "engine.settings.run_all:read_run_all_settings",
    "auto": "engine.settings.auto:read_auto_settings",
    "render": "engine.settings.rendering.render:read_any_render_settings",
    "prune": "engine.settings.prune:read_prune_settings",
    "distill": "engine.settings.distill:read_distill_settings",
    "report": "engine.settings.results.report:read_report_settings",
    "table": "engine.settings.results.table:read_table_settings",
    "view": "engine.settings.results.view:read_view_settings",
    "figure": "engine.settings.results.figure:read_figure_settings",
    "verify": "engine.settings.results.verify:read_verify_settings",
    "export": "engine.settings.export:read_export_settings",
    "import": "engine.settings.exchange:read_import_settings",
    "doctor": "engine.settings.doctor:read_doctor_settings",
    "profile-step": "benchmarks.training_step.settings:read_profile_settings",
}
SCRIPTS = {  # the paper's and E5, and what they blend
    "train_E4.py, render_E4.py": "Ex4DGS, E-D3DGS, STG, 4DGaussians on N3V",
    "train_E5.py, render_E5.py": "Ex4DGS, E-D3DGS, STG, 4DGaussians, FreeTime on N3V",
    "train_E3.py, render_E3.py": "Ex4DGS, E-D3DGS, 4DGaussians on N3V",
    "train_E3_tech.py, render_E3_tech.py": "Ex4DGS, E-D3DGS, STG on Technicolor",
}
EXAMPLES = """\
examples:
  python moegs.py train-expert --help
  python moegs.py prepare videos data/mine
  python moegs.py train-expert stg --source_path data/mine --model_path output/experts/stg/mine"""


def __getattr__(name: str) -> object:
    """A name of the Python API."""
    if name in __all__:
        return located(f"engine.api:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def main(argv: Sequence[str]) -> int:
    """Runs a command: its exit code, or 2 with one line where there is no such command."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        with kept_streams():
            print(*help_lines(), sep="\n")
        return 0
    from engine.settings.parsing.command_line import asks_for_help, exit_code  # here: --help needs nothing of ours

    with exit_code(argv) as code:
        command = find_command(name)
        known = {"prog": f"moegs.py {name}", "description": command.about}
        if asks_for_help(argv) and name in SETTINGS:
            located(SETTINGS[name])(argv[1:], **known)  # ends the process
        check_ranks(name, command)
        code.value = command.function()(argv[1:], **known)
    return code.value


def help_lines() -> list[str]:
    """The help of moegs.py: its commands by group, the scripts, and examples."""
    width = max(map(len, COMMANDS))
    lines = ["usage: python moegs.py COMMAND [FLAGS]", "       python moegs.py COMMAND --help", ""]
    for group in dict.fromkeys(row.group for row in COMMANDS.values()):
        named = {name: row for name, row in COMMANDS.items() if row.group == group}
        lines += [f"{group}:", *(f"  {name:{width}}  {row.about}" for name, row in named.items()), ""]
    return [*lines, *_script_lines(), "", EXAMPLES]


def check_ranks(name: str, command: Command) -> None:
    """Raises ConfigError for a command that torchrun started several times and that does not share its work."""
    if ranks.count() > 1 and not command.many_ranks:
        from engine.errors import ConfigError

        shared = ", ".join(other for other, row in COMMANDS.items() if row.many_ranks)
        raise ConfigError(f"{name} runs as one process: start it without torchrun; several share {shared}, the scripts")


def _script_lines() -> list[str]:
    width = max(map(len, SCRIPTS))
    rows = [f"  {names:{width}}  {experts}" for names, experts in SCRIPTS.items()]
    return ["the paper's scripts, for fixed sets of experts:", *rows]


def find_command(name: str) -> Command:
    """A command's row; ConfigError naming the nearest where there is none of that name."""
    if name not in COMMANDS:
        from engine.errors import ConfigError

        raise ConfigError(f"no command {name!r}; {hint(name, COMMANDS, otherwise='see --help')}")
    return COMMANDS[name]


if __name__ == "__main__":
    with interrupted_in_one_line():
        sys.exit(main(sys.argv[1:]))
