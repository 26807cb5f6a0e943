"""A command's page of help: its name, its purpose, its flags as this command takes them, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from common.text.wording import script_command
from engine.errors import ConfigError
from engine.settings.parsing.fields import leaves, values_of

REQUIRED = " (required)"
# Help texts of flags that most commands have.
DEVICE = "where to compute; auto: the GPU if there is one, else the CPU"
FAST = "blend on the GPU in half precision: at least 60 dB to the images in float32, for less time"
BACKEND = "rasterizer: cuda (GPU), cpu (compiled C++), torch (plain PyTorch, slow); auto: the fastest of the device"
COVERAGE_GUARD = (
    "at cameras that were not trained on: an expert's opacity limits its gate; where experts cover less than at "
    "training views, gates move to equal ones, and the mean colour of the training views is behind all"
)
FILL_HOLES = "at cameras that were not trained on: where no expert covers anything, fill in the colours around"
NOVEL_NEAR = (
    "cameras that were not trained on show no Gaussian nearer than this, in scene units, unless a training camera saw "
    "it from about as close; 0: they show all; default: "
)
CACHE_GB = (
    "most disk for the folder of decoded frames, in GB; if a clip needs more, frames are decoded when they are read, "
    "and again later"
)
KEEP_CHECKPOINTS = (
    "keep only this many newest saves, and the one with the best score of --test_iterations; default: keep all"
)
DETERMINISTIC = "stop (on a GPU: warn) at PyTorch operations whose results may differ from run to run"
QUIET = "show warnings and errors only"
DEBUG = "show more details, and the whole traceback of an error"
_POSITIONAL = get_args(tyro.conf.Positional[int])[1]
_WITHOUT_NO_FORM = get_args(tyro.conf.FlagCreatePairsOff[bool])[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHelp:
    """A command's page of help. Settings go by their flat names."""

    prog: str
    about: str  # one sentence
    examples: tuple[str, ...]  # whole commands; a longer one goes on in the next line with a backslash
    required: tuple[str, ...] = ()  # settings that must be given
    hidden: tuple[str, ...] = ()  # settings that the command refuses
    texts: Mapping[str, str] = field(default_factory=dict)  # help texts that are this command's own


def flag(help: str, *aliases: str, metavar: str | None = None) -> Any:
    """The flag of a setting, for Annotated; the help text has to say what a default of None means."""
    return tyro.conf.arg(help=help, aliases=aliases or None, metavar=metavar, help_behavior_hint=_hint)


def _hint(default: str) -> str:
    unsaid = ("None", "False", "", "''")  # the text says it; a switch is off unless it is given; nothing
    return "" if default in unsaid else f"(default: {'on' if default == 'True' else default})"


def help_view(config: Any, page: CommandHelp) -> Any:
    """A configuration's type as the page shows it, with the configuration's values as defaults.

    Hidden settings are left out, required ones are marked, and a switch shows the form that changes it.
    """
    hints = get_type_hints(type(config), include_extras=True)
    shown: list[tuple[str, Any, Any]] = []
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            group = help_view(value, page)
            if fields(group):
                shown.append((each.name, group, field(default_factory=group)))
        elif each.name not in page.hidden:
            shown.append((each.name, _annotation(hints[each.name], each.name, value, page), value))
    view = make_dataclass(type(config).__name__, shown, frozen=True, kw_only=True)
    view.__doc__ = type(config).__doc__
    return view


def _annotation(annotation: Any, name: str, value: Any, page: CommandHelp) -> Any:
    kind, *marks = get_args(annotation)
    changed = [
        replace(mark, help=page.texts.get(name, mark.help) + (REQUIRED if name in page.required else ""))
        if hasattr(mark, "help")
        else mark
        for mark in marks
    ]
    switch = [_WITHOUT_NO_FORM] if value is False else []
    parts = (kind, *changed, *switch)
    return Annotated[parts]


def print_examples(page: CommandHelp) -> None:
    """Prints the page's examples, which come after its flags."""
    print("", "examples:", *(f"  {line}" for example in page.examples for line in example.splitlines()), sep="\n")


def check_required(config: Any, page: CommandHelp) -> None:
    """Raises ConfigError that names every required setting that was not given."""
    values, annotations = values_of(config), leaves(type(config))
    missing = [name for name in page.required if values[name] in (None, "", ())]
    if missing:
        named = [f"{_argument(name, annotations[name])} ({_text(annotations[name])})" for name in missing]
        raise ConfigError(f"missing: {', '.join(named)}; see {script_command(*page.prog.split(), '--help')}")


def _argument(name: str, annotation: Any) -> str:
    marks = list(marks_of(annotation))
    if _POSITIONAL in marks:
        return next(mark.metavar for mark in marks if hasattr(mark, "metavar"))
    return f"--{name}"


def _text(annotation: Any) -> str:
    return next(mark.help for mark in marks_of(annotation) if hasattr(mark, "help")).split(";")[0]


def marks_of(annotation: Any) -> Iterator[Any]:
    """Everything that stands behind the type in an Annotated."""
    yield from get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
