"""Findings about an installation, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "fault"]  # a note: works, but could be better; a fault: something is unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the examination."""

    subject: str
    found: str
    verdict: Verdict = "ok"
    advice: str = ""  # to do; none where all is well


def table(findings: Sequence[Finding]) -> list[str]:
    """Lines of the findings, one each."""
    width = max((len(finding.subject) for finding in findings), default=0)
    return [f"{finding.verdict:5}  {finding.subject:{width}}  {finding.found}" for finding in findings]


def advice(findings: Sequence[Finding]) -> list[str]:
    """Lines of what to do, faults first, each once."""
    ordered = sorted((one for one in findings if one.advice), key=lambda one: one.verdict != "fault")
    return list(dict.fromkeys(f"{one.subject}: {one.advice}" for one in ordered))
