"""docs/troubleshooting.md quotes messages as the product prints them, and its commands have flags that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from engine.errors import ConfigError
from engine.settings import prepare
from engine.settings.parsing.command_help import CommandHelp
from engine.settings.parsing.command_line import parse_arguments
from engine.settings.rendering import render
from engine.settings.training import run, train_expert
from router import ENSEMBLES
from tests.docs.messages import ROOT, is_printed, pattern, quoted, texts_of

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
FOREIGN = frozenset({"(pip)", "(Python)", "(PyTorch)"})  # whose messages are not in our sources
MESSAGES = quoted(PAGE, foreign=FOREIGN)
SETTINGS = {
    **{f"train_{name}.py": run.RunConfig for name in ENSEMBLES},
    **{f"render_{name}.py": render.RenderConfig for name in ENSEMBLES},
    "moegs.py train": run.AnyRunConfig,
    "moegs.py render": render.AnyRenderConfig,
    "moegs.py prepare": prepare.PrepareConfig,
    "moegs.py train-expert": train_expert.TrainExpertConfig,
}
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_REST = re.compile(r"\s+(?:\d?>|[|&#])")  # redirection, pipe, background, comment


def commands(page: str) -> list[str]:
    """Commands of the product in a page's bash blocks."""
    text = "\n".join(_BLOCK.findall(page)).replace("\\\n", " ")
    lines = re.findall(r"python ((?:train_|render_|moegs\.py (?:train|render|prepare)).*)", text)
    return [_REST.split(line)[0] for line in lines]


def check_flags(command: str) -> None:
    """Raises ConfigError for flags or values that a command does not take."""
    name = next(name for name in sorted(SETTINGS, key=len, reverse=True) if command.startswith(f"{name} "))
    arguments = [word for word in shlex.split(command.removeprefix(name)) if word != "--help"]
    page = CommandHelp(prog=name, about="", examples=())
    parse_arguments(SETTINGS[name], arguments, defaults=SETTINGS[name](), page=page)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_is_printed(message: str):
    assert is_printed(message), f"no text in the sources contains {pattern(message)!r}"


def test_the_page_has_its_messages():
    assert len(MESSAGES) > 60
    assert {"no frames found; looked for", "covers N of the clip's N frames"} <= set(MESSAGES)


@pytest.mark.parametrize(
    "message",
    [
        "no frames were found; looked for",  # other words
        "N rows but N cameras have frames",  # a comma less
        "9 rows, but 8 cameras have frames",  # values where the page writes N
        "N, but N cameras have frames",  # N for a word
        "test camera NAME doesn't exist",
        "What is wrong, what was found, what to do",  # never printed
        "Files of strangers, read without running anything in them",  # a docstring
    ],
)
def test_another_wording_is_not_printed(message: str):
    assert not is_printed(message)


@pytest.mark.parametrize("message", ["N", "NAME: N of N", "…", "at N"])
def test_a_message_of_values_alone_cannot_be_looked_for(message: str):
    with pytest.raises(ValueError, match="too little"):
        pattern(message)


def test_texts_of_a_module_leave_values_open_and_docstrings_out():
    source = '"""Docstring."""\nraise E(f"{path}: {len(a)} of " f"{b!r}{c} cameras")\nlog("step %d of %s", 1, 2)\n'
    assert sorted(texts_of(source)) == ["\0: \0 of \0 cameras", "step \0 of \0"]
    assert "\0: \0 frames cut" in texts_of("f\"{name}: {counted(len(a), 'frame')} cut\"")


def test_messages_are_read_from_headings_and_their_tables():
    page = (
        "# `no`\n### `first NAME` and `second`\n### `not ours` (pip)\n| message | cause |\n| --- | --- |\n"
        "| `third` | `no` |\n\n| other | `no` |\n| --- | --- |\n| `no` | |\ntext `no`\n"
    )
    assert quoted(page, foreign=FOREIGN) == ["first NAME", "second", "third"]


@pytest.mark.parametrize("command", commands(PAGE))
def test_a_command_has_flags_that_exist(command: str):
    check_flags(command)


def test_a_flag_that_does_not_exist_is_seen():
    assert commands("```bash\nFOO=1 python train_E4.py --resume \\\n    --seed 1 2>&1 | tee x\n```\n") == [
        "train_E4.py --resume      --seed 1"
    ]
    for wrong in ("train_E4.py --resume --savepath x", "moegs.py prepare videos x --leave-in y"):
        with pytest.raises(ConfigError, match="is not a flag"):
            check_flags(wrong)
