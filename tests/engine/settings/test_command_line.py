"""Messages for a user who mistypes, to the byte; the help of every command."""

from __future__ import annotations

import re

import pytest

import moegs
from common.text.wording import ROOT
from engine.commands import render, train
from engine.errors import ConfigError
from engine.settings.parsing.command_line import exit_code
from engine.settings.parsing.fields import leaves
from engine.settings.training.experts import FILE_PLANES
from engine.settings.training.run import RunConfig
from experts import EXPERTS, TRAINABLE
from router import ENSEMBLES, HEADS, folder_flags
from scenes.layouts import PREPARATIONS

FOLDERS = ", ".join(
    f"--{flag} (folder of the trained {name} model)" for name, flag in folder_flags(ENSEMBLES["E4"]).items()
)
SEE = f"see python {ROOT / 'train_E4.py'} --help"
LIKELY = [
    ("--foo 1", "--foo is not a flag; see --help"),
    ("--iteration 5", "--iteration is not a flag; did you mean --iterations?"),
    ("--sav_path out", "--sav_path is not a flag; did you mean --save_path?"),
    ("--port 6010", "--port is not a flag here: it never had an effect; leave it out"),
    ("--start_checkpoint x", "--start_checkpoint is not a flag here: use --resume, which continues the newest save of "
     "--save_path"),
    ("--net_width 64", "--net_width is not a flag here: the expert's network is read from its checkpoint; leave it "
     "out"),
    ("-r half", "Error parsing -r/--resolution: INT expected, found 'half'"),
    ("--near close", "Error parsing --near: FLOAT expected, found 'close'"),
    ("--near None", "Error parsing --near: FLOAT expected, found 'None'"),
    ("--fill_holes None", "invalid choice 'None' for argument '--fill_holes'. Expected one of ('on', 'off')."),
    ("--rgbfunction sandwich", "invalid choice 'sandwich' for argument '--rgbfunction'. Expected one of "
     f"{tuple(HEADS)}."),
    ("stray", "Unrecognized options: stray"),
    ("--seed", "Missing value for argument '--seed'. Expected 1 values."),
    ("--config nowhere.json", "--config nowhere.json: no such configuration file; available: none in that folder"),
    ("", f"missing: --source_path (folder of the scene), --save_path (folder of the run's results), {FOLDERS}; "
     f"{SEE}"),
    ("--save_path out", f"missing: --source_path (folder of the scene), {FOLDERS}; {SEE}"),
    ("--save_path out -s in -m a --emb_path b --fgaussian_path d", "missing: --stg_path (folder of the trained STG "
     f"model); {SEE}"),
    ("--save_path out -s . -m nowhere --emb_path b --stg_path c --fgaussian_path d", "--model_path nowhere: no such "
     "folder; give the folder of the trained Ex4DGS model"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), LIKELY, ids=[arguments or "nothing" for arguments, _ in LIKELY])
def test_likely_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main("E4", ["--quiet", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: {message}\n")
    assert not any(tmp_path.iterdir())


def help_of(command: list[str], capsys) -> str:
    """What a command prints for --help, 100 columns wide."""
    with pytest.raises(SystemExit) as end:
        if command[0].startswith("train_"):
            train.main(command[0].removeprefix("train_").removesuffix(".py"), ["--help"])
        elif command[0].startswith("render_"):
            render.main(command[0].removeprefix("render_").removesuffix(".py"), ["--help"])
        else:
            moegs.main([*command, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


OPTIONAL_CHOICES = ("fill_holes", "coverage_guard", "device", "backend", "tile_rule", "network_precision")


@pytest.mark.parametrize("name", OPTIONAL_CHOICES)
def test_a_choice_that_may_be_left_out_has_no_word_for_that(name, capsys, tmp_path):
    for value in ("None", "nonsense"):
        assert moegs.main(["render", f"--save_path={tmp_path}", f"--{name}={value}"]) == 2
        choices = capsys.readouterr().err.removeprefix(f"error: invalid choice '{value}' for argument '--{name}'. ")
        assert choices.startswith("Expected one of (") and "None" not in choices


SCRIPTS = [f"{verb}_{name}.py" for verb in ("train", "render") for name in ENSEMBLES]
PAGES = [[script] for script in SCRIPTS] + [[name] for name in moegs.COMMANDS]
PAGES += [["prepare", kind] for kind in PREPARATIONS] + [["train-expert", spec.key] for spec in TRAINABLE.values()]


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_every_help_fits_100_columns_and_ends_with_examples(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = help_of(command, capsys)
    assert max(map(len, shown.splitlines())) <= 100
    examples = shown.split("\nexamples:\n")[1].rstrip().replace("\\\n", "").splitlines()
    name = command[0] if command[0] in SCRIPTS else f"moegs.py {command[0]}"
    assert examples and all(f"{line} ".startswith(f"  python {name} ") for line in examples)


@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_no_help_has_an_empty_default_or_a_riddle(command, capsys):
    shown = " ".join(help_of(command, capsys).replace("│", " ").split())
    for phrase in ("(default: )", "(default: '')", "upstream's", "flags go before", "none given", "(default: None)"):
        assert phrase not in shown


@pytest.mark.parametrize("name", ENSEMBLES)
def test_help_marks_what_is_required_and_leaves_out_what_is_refused(name, capsys):
    ensemble = ENSEMBLES[name]
    shown = help_of([f"train_{name}.py"], capsys)
    options = {text.split(" PATH")[0]: text for text in shown.split("--") if " PATH" in text}
    flags = folder_flags(ensemble).values()
    for flag in ("source_path", "save_path", *flags):
        assert "(required)" in options[flag], flag
    assert "(required)" not in options["cache_path"]
    for spec in EXPERTS.values():
        assert (f"--{spec.flag}" in shown) == (spec.flag in flags)
    numbers = [*map(str, ensemble.test_iterations), *(["and"] if ensemble.test_iterations else []), "the last"]
    assert f"no number: never; default: {' '.join(numbers)}" in " ".join(shown.replace("│", " ").split())


def test_help_of_an_expert_leaves_out_what_it_refuses(capsys):
    assert "--segments" in help_of(["train-expert", "stg"], capsys)
    shown = help_of(["train-expert", "ed3dgs"], capsys)
    assert "--segments" not in shown and "--near" not in shown
    assert "--accept_moving" in help_of(["prepare", "videos"], capsys)
    assert "--accept_moving" not in help_of(["prepare", "n3v"], capsys)


def test_help_explains_every_flag(capsys):
    shown = help_of(["train_E4.py"], capsys)
    assert "usage: train_E4.py" in shown
    refused = {spec.flag for name, spec in EXPERTS.items() if name not in ENSEMBLES["E4"].experts}
    flags = leaves(RunConfig).keys() - refused - {FILE_PLANES}
    bare = [name for name in flags if not re.search(rf"--{name}\b[^\n]*\n?[|│ ]*[^\n]*[a-z]{{3}}", shown)]
    assert not bare


def test_help_shows_the_files_values_as_defaults(capsys, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"iterations": 4321, "bundle": true}')
    with pytest.raises(SystemExit):
        train.main("E4", ["--config", str(path), "--help"])
    shown = capsys.readouterr().out
    assert "(default: 4321)" in shown and "--no_bundle" in shown


def test_debug_shows_the_traceback():
    with pytest.raises(ConfigError, match="missing: --source_path"):
        train.main("E4", ["--debug"])


def test_codes_of_ends(capsys):
    def end_of(error: BaseException | None) -> int:
        with exit_code([]) as code:
            if error is not None:
                raise error
        return code.value

    assert end_of(None) == 0
    assert end_of(FileNotFoundError(2, "No such file or directory", "x")) == 2
    assert end_of(KeyboardInterrupt()) == 130
    assert end_of(ConfigError("two\nlines")) == 2
    assert "error: two lines" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        end_of(ZeroDivisionError())
