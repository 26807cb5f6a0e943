"""Examine this installation, and say what to do: python moegs.py doctor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from engine.doctor.environment import environment
from engine.doctor.findings import Finding, advice, table
from engine.settings.doctor import read_doctor_settings
from engine.settings.parsing.command_line import set_up_logging

UNUSABLE = 1  # exit code where something cannot be used


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Prints what was found and what to do; the exit code: 0 all can be used, UNUSABLE."""
    config = read_doctor_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=True, debug=config.debug)
    findings = list(examine())
    print(*table(findings), "", sep="\n")
    faulty = any(finding.verdict == "fault" for finding in findings)
    to_do = advice(findings)
    print(*(["what to do:", *(f"  {line}" for line in to_do)] if to_do else ["nothing to do"]), sep="\n")
    return UNUSABLE if faulty else 0


def examine() -> Iterator[Finding]:
    """Findings of the whole examination; a PyTorch that cannot be imported is one of them."""
    yield from environment()
    try:
        from engine.doctor.rasterizer import rasterizer  # here, because it imports PyTorch
    except (ImportError, OSError, RuntimeError) as error:
        advice = "pip install --force-reinstall torch -c constraints.txt"
        yield Finding(subject="PyTorch", found=f"cannot be imported: {error}", verdict="fault", advice=advice)
        return
    yield from rasterizer()
