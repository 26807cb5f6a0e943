"""Settings of `moegs.py doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from engine.settings.parsing.command_help import DEBUG, CommandHelp, flag
from engine.settings.parsing.command_line import parse


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorConfig:
    """Settings of an examination."""

    debug: Annotated[bool, flag(DEBUG)] = False


def doctor_page(prog: str, about: str) -> CommandHelp:
    """The help of `moegs.py doctor`."""
    return CommandHelp(prog=prog, about=about, examples=(f"python {prog}",))


def read_doctor_settings(arguments: Sequence[str], *, prog: str, description: str) -> DoctorConfig:
    """Settings of the command; ConfigError for flags that it does not have."""
    return parse(DoctorConfig, arguments, defaults=DoctorConfig(), page=doctor_page(prog, description))
