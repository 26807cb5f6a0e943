"""Messages for a user who mistypes, to the byte."""

from __future__ import annotations

import re

import pytest

from engine.commands import train
from engine.errors import ConfigError
from engine.settings.command_line import exit_code
from engine.settings.fields import leaves
from engine.settings.run import RunConfig

LIKELY = [
    ("--foo 1", "--foo is not a flag; see --help"),
    ("--iteration 5", "--iteration is not a flag; did you mean --iterations?"),
    ("--sav_path out", "--sav_path is not a flag; did you mean --save_path?"),
    ("--port 6010", "--port is not a flag here: it never had an effect; leave it out"),
    ("--start_checkpoint x", "--start_checkpoint is not a flag here: use --resume, which continues the newest save of "
     "--save_path"),
    ("--net_width 64", "--net_width is not a flag here: the expert's network is read from its checkpoint; leave it "
     "out"),
    ("-r half", "Error parsing -r/--resolution: invalid literal for int() with base 10: 'half'"),
    ("--near close", "Error parsing --near: FLOAT expected, found 'close'."),
    ("--rgbfunction sandwich", "invalid choice 'sandwich' for argument '--rgbfunction'. Expected one of "
     "('sandwichlite', 'sandwichpixel')."),
    ("stray", "Unrecognized options: stray"),
    ("--seed", "Missing value for argument '--seed'. Expected 1 values."),
    ("--config nowhere.json", "nowhere.json: no such configuration file; available: none in that folder"),
    ("", "--save_path is missing: give the folder of the results"),
    ("--save_path out", "--source_path is missing: give the folder of the scene"),
    ("--save_path out -s in", "--model_path is missing: give the folder of the trained Ex4DGS model"),
    ("--save_path out -s in -m nowhere", "--model_path nowhere: no such folder; give the folder of the trained Ex4DGS "
     "model"),
    ("--save_path out -s in -m .", "--emb_path is missing: give the folder of the trained E-D3DGS model"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), LIKELY, ids=[arguments or "nothing" for arguments, _ in LIKELY])
def test_likely_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main("E4", ["--quiet", *arguments.split()]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: {message}\n")
    assert not any(tmp_path.iterdir())


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        train.main("E3", ["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: train_E3.py" in shown
    assert "Ex4DGS, E-D3DGS, 4DGaussians" in shown
    bare = [name for name in leaves(RunConfig) if not re.search(rf"--{name}\b[^\n]*\n?[|│ ]*[^\n]*[a-z]{{3}}", shown)]
    assert not bare


def test_debug_shows_the_traceback():
    with pytest.raises(ConfigError, match="--save_path is missing"):
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
