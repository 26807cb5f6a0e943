"""The table of commands."""

from __future__ import annotations

import pytest

import moegs


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert moegs.main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in moegs.COMMANDS)


@pytest.mark.parametrize("name", moegs.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        moegs.main([name, "--help"])
    assert end.value.code == 0
    assert moegs.COMMANDS[name].about in capsys.readouterr().out
