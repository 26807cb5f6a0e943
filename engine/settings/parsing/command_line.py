"""From a command's arguments to its configuration, and from its end to an exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from common import ranks
from common.signals import INTERRUPTED, terminated_as_interrupted
from common.streams import kept_streams
from common.text.suggestions import hint
from common.text.wording import shell
from engine.errors import ConfigError, memory_line, user_errors
from engine.settings.parsing.command_help import CommandHelp, check_required, help_view, marks_of, print_examples
from engine.settings.parsing.config_file import check_config_file, read_config_file
from engine.settings.parsing.fields import evaluate_annotations, leaves, with_values
from engine.settings.parsing.retired import RETIRED

Config = TypeVar("Config")

WRONG_USE = 2
OWN_PACKAGES = ("common", "scenes", "experts", "router", "engine", "demo", "benchmarks", "moegs_rasterizer")
_PLAIN_NAMES = (tyro.conf.OmitArgPrefixes,)
_OF_OTHER_KINDS = {  # Python's words for a value that is no number, and the kind of value
    "could not convert string to float: ": "FLOAT",
    r"invalid literal for int\(\) with base 10: ": "INT",
}
NOT_DETERMINISTIC = "does not have a deterministic implementation"  # PyTorch's words, under --deterministic
_ADVICE = "leave out --deterministic"
OPTIONAL_VALUES = ConstructorRegistry()


@OPTIONAL_VALUES.primitive_rule
def _optional_value(type_info: PrimitiveTypeInfo) -> Any:
    """Reads a setting that may be left out as if it had to be given: its absence has no word on a command line."""
    kinds = [kind for kind in get_args(type_info.type) if kind is not NoneType]
    if type_info.type_origin not in (Union, UnionType) or len(kinds) == len(get_args(type_info.type)):
        return None
    given = reduce(or_, kinds)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(given, type_info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return spec
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
    )


def parse(config_type: type[Config], argv: Sequence[str], *, defaults: Config, page: CommandHelp) -> Config:
    """Settings from defaults, then the JSON file of --config where the type has one, then the command line.

    Raises ConfigError and exits as `parse_arguments` does; ConfigError too for required settings that are missing.
    """
    given = config_path(argv) if "config" in leaves(config_type) else None
    if given is not None:
        defaults = with_values(defaults, read_config_file(given, config_type))
    config = parse_arguments(config_type, argv, defaults=defaults, page=page)
    check_required(config, page)
    return config


def parse_arguments(
    config_type: type[Config],
    argv: Sequence[str],
    *,
    defaults: Config,
    page: CommandHelp,
    retired: Mapping[str, str] = RETIRED,
) -> Config:
    """Settings from defaults, then the command line; no file is read, and nothing is required.

    retired: flags that are gone, and why. Raises ConfigError for flags that do not exist (naming the nearest, or why it
    is gone) and values that do not fit; exits with 0 after --help.
    """
    if asks_for_help(argv):
        show_help(defaults, page)
    _check_flags(argv, config_type, retired)
    defaults = with_values(defaults, dict.fromkeys(_repeated(argv, config_type), ()))  # not added to a file's values
    shown = io.StringIO()
    evaluate_annotations(config_type)
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                config_type,
                args=list(argv),
                default=defaults,
                prog=page.prog,
                use_underscores=True,
                config=(*_PLAIN_NAMES, tyro.conf.HelptextFromCommentsOff),  # which takes its time to find
                registry=OPTIONAL_VALUES,
            )
    except SystemExit as error:
        if error.code in (0, None):
            raise
        raise ConfigError(_first_paragraph(shown.getvalue())) from None


def asks_for_help(argv: Sequence[str]) -> bool:
    """True where a command's arguments have --help or -h."""
    return not {"-h", "--help"}.isdisjoint(argv)


def show_help(defaults: Any, page: CommandHelp) -> NoReturn:
    """Prints a page of help with a configuration's values as defaults, and exits with 0."""
    try:
        tyro.cli(
            help_view(defaults, page),
            args=["--help"],
            prog=page.prog,
            description=page.about,
            use_underscores=True,
            config=_PLAIN_NAMES,
            registry=OPTIONAL_VALUES,
        )
    finally:
        print_examples(page)
    raise SystemExit(0)


@dataclass(slots=True)
class ExitCode:
    """A command's exit code, set when it ends."""

    value: int = 0


@contextlib.contextmanager
def exit_code(argv: Sequence[str]) -> Iterator[ExitCode]:
    """Runs a command as a context: its exit code is 2 after an error of the user's, 130 after an interrupt or SIGTERM.

    Such an error is printed in one line; --debug among the arguments shows the traceback as well. Under torchrun it is
    one rank of a job.
    """
    code = ExitCode()
    with kept_streams(), _one_line(argv, code), terminated_as_interrupted(), ranks.job():
        yield code


@contextlib.contextmanager
def _one_line(argv: Sequence[str], code: ExitCode) -> Iterator[None]:
    try:
        yield
    except user_errors() as error:
        if "--debug" in argv:
            raise
        lines = (line.strip() for line in (memory_line(error) or str(error)).splitlines())
        print(f"error: {' '.join(line for line in lines if line)}", file=sys.stderr)  # spaces in a path stay
        code.value = WRONG_USE
    except (RuntimeError, MemoryError) as error:
        told = _told_of_pytorch(error)
        if told is None or "--debug" in argv:
            raise
        print(f"error: {told}", file=sys.stderr)
        code.value = WRONG_USE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code.value = INTERRUPTED


def _told_of_pytorch(error: Exception) -> str | None:
    """The line for an error of PyTorch's that a user can do something about; None for others, which are faults."""
    if NOT_DETERMINISTIC in str(error):
        operation = str(error).split(NOT_DETERMINISTIC)[0].strip()
        return f"{operation} of PyTorch may give other bits on this device: {_ADVICE}"
    return memory_line(error)


def set_up_logging(*, quiet: bool, debug: bool = False) -> None:
    """Log lines to standard error as they are, warnings marked; quiet leaves only those, debug adds details.

    Of several ranks the first one logs, the others their errors alone.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain())
    level = logging.ERROR if not ranks.is_first() else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
    own = logging.DEBUG if debug and not quiet and ranks.is_first() else logging.NOTSET
    for package in OWN_PACKAGES:  # libraries have details too, which nobody asked for
        logging.getLogger(package).setLevel(own)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return mark + super().format(record)


def _check_flags(argv: Sequence[str], config_type: Any, retired: Mapping[str, str]) -> None:
    annotations = leaves(config_type)
    switches = [f"no_{name}" for name, annotation in annotations.items() if _bare(annotation) is bool]
    aliases = [alias for annotation in annotations.values() for alias in _aliases(annotation)]
    known = {*annotations, *switches, "help", "h", *(alias.lstrip("-").replace("-", "_") for alias in aliases)}
    for argument in argv:
        if not argument.startswith("-") or _is_number(argument):
            continue
        name = argument.lstrip("-").split("=")[0].replace("-", "_")
        if name in retired and name not in known:
            raise ConfigError(f"--{name} is not a flag here: {retired[name]}")
        if name not in known:
            advice = hint(name, annotations, prefix="--", otherwise="see --help")
            raise ConfigError(f"{argument.split('=')[0]} is not a flag; {advice}")


def _repeated(argv: Sequence[str], config_type: Any) -> list[str]:
    """Settings among the arguments that are given by one flag for each value."""
    flags = {argument.split("=")[0] for argument in argv}
    marker = get_args(tyro.conf.UseAppendAction[int])[1]
    repeatable = (name for name, annotation in leaves(config_type).items() if marker in get_args(annotation))
    return [name for name in repeatable if f"--{name}" in flags]


def _is_number(argument: str) -> bool:
    try:
        float(argument)
    except ValueError:
        return False
    return True


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _aliases(annotation: Any) -> Sequence[str]:
    return [alias for mark in marks_of(annotation) for alias in (getattr(mark, "aliases", None) or ())]


def config_path(argv: Sequence[str]) -> Path | None:
    """The file that --config names among a command's arguments; ConfigError where there is no such file."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", "--configpath", type=Path)
    try:
        path: Path | None = parser.parse_known_args(list(argv))[0].config
    except argparse.ArgumentError:
        return None  # no value given: the full parser says so
    if path is not None:
        check_config_file(path, argument=shell("--config", path))
    return path


def _first_paragraph(box: str) -> str:
    """The message of a titled and ruled error text, without title, rules, help and hints."""
    lines = [line.strip("│╭╮╰╯|+ ") for line in box.splitlines()]
    below = itertools.dropwhile(_is_rule, lines[1:])
    message = " ".join(itertools.takewhile(lambda line: not _is_rule(line), below)) or " ".join(lines)
    for found, kind in _OF_OTHER_KINDS.items():
        message = re.sub(f"{found}(.+)", rf"{kind} expected, found \1", message)
    return message


def _is_rule(line: str) -> bool:
    return set(line) <= {"─", "-"}
