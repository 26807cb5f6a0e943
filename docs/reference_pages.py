"""Writes docs/reference/command_line.md and configs.md from the commands and their settings.

python docs/reference_pages.py writes both pages; with --check it writes nothing and fails if one is out of date.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from unittest import mock

import moegs
from engine.commands import render, train
from engine.settings.parsing.command_help import CommandHelp, help_view, marks_of
from engine.settings.parsing.config_file import FLAGS_ONLY
from engine.settings.training.experts import FILE_PLANES
from engine.settings.training.run import RunConfig
from router import ENSEMBLES

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
FLAGS = "| flag | meaning | default |\n| --- | --- | --- |\n"
COMMAND_LINE = """\
# Command line

Every command prints this text for `--help`. It ends with exit code 0 when it is done, 2 after an error (one line on
standard error), and 130 after Ctrl-C. `--debug` shows more details,
and the whole traceback of an error.

A switch such as `--bundle` also has the form `--no_bundle`, which undoes `true` in a JSON file. [Configs](configs.md)
explains JSON files.
"""
CONFIGS = """\
# Configs

A JSON file holds settings of `train_E4.py`, `train_E5.py`, `train_E3.py`, `train_E3_tech.py` and `moegs.py train`. Give
it with `--config FILE.json`. A key is the name of the flag without its dashes.

```json
{"resolution": 2, "iterations": 5000, "test_cameras": ["cam00"]}
```

- **Order.** A flag on the command line beats the file. The file beats the defaults.
- **Unknown keys** are an error that names the nearest known key. The files of the paper's code are accepted as they
  are: keys that belong to the training of an expert are skipped, and the log counts them.
- **Near and far.** An expert keeps the planes of its training: its `cfg_args` beat the file, with a warning if the two
  differ. Only `--near` and `--far` on the command line beat `cfg_args`.
- **Your own scenes.** Give no file of `configs/`. Those files hold the resolution, the learning rates and the planes of
  the paper's scenes.
- **A run** writes all its settings to `<save_path>/config.json`. `--resume` and the render scripts read that file.

`moegs.py train-expert --config` takes the same kind of file, with the settings of the
[expert's recipe](../train_expert.md) beside the flags' names.
"""


Groups = Sequence[tuple[str, Sequence[str]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the pages; the exit code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    check = parser.parse_args(arguments).check
    old = []
    for name, text in pages().items():
        path = FOLDER / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            old.append(name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if old:
        print(f"out of date: {', '.join(old)}; run python docs/reference_pages.py", file=sys.stderr)
    return 1 if old else 0


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {"command_line.md": command_line_page(), "configs.md": configs_page()}


def command_line_page() -> str:
    """One section for each command: flags by group, then examples; a script like another shows the difference."""
    sections: list[str] = [COMMAND_LINE]
    earlier: dict[str, tuple[str, Groups]] = {}
    for config, page in commands():
        groups = list(_groups(help_view(config, page)))
        verb = page.prog.split("_")[0]
        sections.append(f"## {page.prog}\n\n{page.about}\n")
        if verb in earlier:
            first, before = earlier[verb]
            sections.append(_difference(first, before, groups))
        else:
            sections += [f"{title}\n\n{FLAGS}{''.join(rows)}" for title, rows in groups]
            if page.prog.endswith(".py"):
                earlier[verb] = (page.prog, groups)
        sections.append("```shell\n" + "\n".join(page.examples) + "\n```\n")
    return "\n".join(sections)


def _difference(first: str, before: Groups, groups: Groups) -> str:
    """The flags of a command that are not those of the first: others' are named, its own are listed."""
    known = [row for _, rows in before for row in rows]
    rows = [row for _, own in groups for row in own]
    flags = [row.split(" | ")[0] for row in rows]
    missing = [row.split(" | ")[0].strip("| ") for row in known if row.split(" | ")[0] not in flags]
    changed = [row for row in rows if row not in known]
    said = f"It takes the flags of `{first}`"
    said += f" without {', '.join(missing)}" if missing else ""
    return f"{said}. These differ:\n\n{FLAGS}{''.join(changed)}" if changed else f"{said}.\n"


def commands() -> Iterator[tuple[Any, CommandHelp]]:
    """Settings and help of every command, those of the scripts first."""
    for name in ENSEMBLES:
        yield _recorded(train.main, name, ["--help"])
        yield _recorded(render.main, name, ["--help"])
    for name in moegs.COMMANDS:
        yield _recorded(moegs.main, [name, "--help"])


def _recorded(command: Any, *arguments: Any) -> tuple[Any, CommandHelp]:
    """The settings and the page that a command would show for --help."""
    hook = mock.patch("engine.settings.parsing.command_line.show_help", side_effect=SystemExit(0))
    with hook as shown, contextlib.suppress(SystemExit):
        command(*arguments)
    config, page = shown.call_args.args
    return config, page


def _groups(view: Any) -> Iterator[tuple[str, Sequence[str]]]:
    """The text of each group of a view with its rows; flags without a group come first."""
    hints = get_type_hints(view, include_extras=True)
    own = [each.name for each in fields(view) if not is_dataclass(hints[each.name])]
    if own:
        yield "**General.**", _rows(view, own, hints)
    for each in fields(view):
        group = hints[each.name]
        if is_dataclass(group):
            names = [setting.name for setting in fields(group)]
            about = " ".join((group.__doc__ or "").split())
            yield (
                f"**{each.name.capitalize()}.** {about}",
                _rows(group, names, get_type_hints(group, include_extras=True)),
            )


def _rows(group: Any, names: Sequence[str], hints: dict[str, Any]) -> list[str]:
    values = {each.name: each.default for each in fields(group)}
    return [f"| {_flag(name, hints[name])} | {_text(hints[name])} | {_default(values[name])} |\n" for name in names]


def _flag(name: str, annotation: Any) -> str:
    mark = next(mark for mark in marks_of(annotation) if hasattr(mark, "help"))
    if any(repr(each) == "Positional" for each in marks_of(annotation)):
        return f"`{mark.metavar}`"
    return ", ".join(f"`{each}`" for each in (f"--{name}", *(mark.aliases or ())))


def _text(annotation: Any) -> str:
    mark = next(mark for mark in marks_of(annotation) if hasattr(mark, "help"))
    choices = f" Choices: {', '.join(f'`{each}`' for each in _choices(annotation))}." if _choices(annotation) else ""
    return f"{mark.help}.{choices}".replace("|", "\\|").replace("<", "\\<")


def _choices(annotation: Any) -> tuple[Any, ...]:
    kind = get_args(annotation)[0]
    options = get_args(kind) if get_origin(kind) not in (None, Literal, tuple) else (kind,)
    return next((get_args(each) for each in options if get_origin(each) is Literal), ())


def _default(value: Any) -> str:
    if value is None or value is False or value in ((), ""):
        return ""
    return "on" if value is True else f"`{value}`"


def configs_page() -> str:
    """The keys with their defaults, and the values of the files in configs/."""
    rows = []
    for title, names, hints, values in _config_groups():
        rows += [f"| `{name}` | {_kind(hints[name])} | {_json(values[name])} | {title} |" for name in names]
    table = "| key | JSON type | default | group |\n| --- | --- | --- | --- |\n" + "\n".join(rows)
    said = "The [command line](command_line.md) says what each setting does.\n\n"
    return f"{CONFIGS}\n## Keys\n\n{said}{table}\n\n## Files in configs/\n\n{_files()}"


def _config_groups() -> Iterator[tuple[str, list[str], dict[str, Any], dict[str, Any]]]:
    config = RunConfig()
    for each in fields(config):
        group = getattr(config, each.name)
        if is_dataclass(group):
            names = [setting.name for setting in fields(group) if setting.name not in (*FLAGS_ONLY, FILE_PLANES)]
            values = {name: getattr(group, name) for name in names}
            yield each.name, names, get_type_hints(type(group), include_extras=True), values


def _kind(annotation: Any) -> str:
    names = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path", type(None): "null"}
    kind = get_args(annotation)[0]
    options = get_args(kind) if get_origin(kind) is Union or type(kind).__name__ == "UnionType" else (kind,)
    said = []
    for option in options:
        if get_origin(option) is Literal:
            said += [f"`{json.dumps(each)}`" for each in get_args(option)]
        else:
            said.append(f"list of {names[get_args(option)[0]]}s" if get_origin(option) is tuple else names[option])
    return " or ".join(said)


def _json(value: Any) -> str:
    return f"`{json.dumps(value)}`"


def _files() -> str:
    files = sorted((ROOT / "configs").rglob("*.json"))
    contents = {path.relative_to(ROOT).as_posix(): json.loads(path.read_text(encoding="utf-8")) for path in files}
    keys = list(dict.fromkeys(key for content in contents.values() for key in content))
    head = "| file | " + " | ".join(f"`{key}`" for key in keys) + " |\n|" + " --- |" * (len(keys) + 1)
    rows = [
        f"| `{name}` | " + " | ".join(str(content.get(key, "")) for key in keys) + " |"
        for name, content in contents.items()
    ]
    return "\n".join([head, *rows]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
