"""The verdict on a run's experts: numbers at a few training views, likely causes of faults, and their words."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from common.text.tables import Column, table_lines
from engine.checks.causes import CameraOrder, NearPlane
from engine.checks.clip_length import ClipLength
from scenes import Scene

logger = logging.getLogger(__name__)

COLUMNS = (
    Column(heading="expert", gap=2, left=True),
    Column(heading="PSNR dB", gap=2),
    Column(heading="coverage", gap=2),
    Column(heading="culled by near", gap=2),
    Column(heading="clip length", gap=2),
)
UNKNOWN = "likely a model, cameras, frames or a start frame of another scene"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertVerdict:
    """One expert at the training views."""

    name: str
    psnr: float  # dB, mean
    coverage: float  # mean alpha
    plane: NearPlane
    clip: ClipLength | None  # None: the expert has no clock of its own
    causes: tuple[str, ...] = ()  # likely ones, with what to do
    is_poor: bool = False
    is_unknown: bool = False  # poor without a cause that rendering finds


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All experts of a run at the training views."""

    experts: tuple[ExpertVerdict, ...]
    order: CameraOrder | None  # None: not looked at
    views: tuple[str, ...]  # "cam01 at frame 0"

    def table(self) -> list[str]:
        """Lines of a table, one expert a line."""
        rows = [
            [each.name, f"{each.psnr:.2f}", f"{each.coverage:.0%}", f"{each.plane.culled:.1%}", _clip(each.clip)]
            for each in self.experts
        ]
        return table_lines(COLUMNS, rows)

    def warnings(self) -> list[str]:
        """One line for each fault, with its likely cause and what to do."""
        lines = []
        if self.order is not None and self.order.is_wrong:
            lines.append(
                f"the cameras are in another order than the frames: {self.order.examples()}; the rows of "
                "poses_bounds.npy belong to the cameras in the order of their names: mend their order, or the names"
            )
        faulty = [each for each in self.experts if each.is_poor or each.causes]
        if len(faulty) > 1 and all(each.is_unknown for each in self.experts):
            numbers = ", ".join(f"{each.name} {each.psnr:.1f} dB" for each in faulty)
            return [*lines, f"no expert fits the frames ({numbers}): {UNKNOWN}"]
        return [*lines, *map(self._line, faulty)]

    def _line(self, each: ExpertVerdict) -> str:
        others = [f"{other.name} {other.psnr:.1f}" for other in self.experts if other is not each]
        beside = f" ({', '.join(others)})" if others else ""
        return f"{each.name} reaches {each.psnr:.1f} dB{beside}: {'; '.join(each.causes)}"


def _clip(clip: ClipLength | None) -> str:
    if clip is None:
        return "-"
    if clip.later:
        return "another start"
    return f"{clip.best:,} frames" if clip.is_clear else "not decidable"


def log_verdict(verdict: Verdict, scene: Scene) -> None:
    """Logs one line of numbers, and a warning for every fault; nothing where no frame was at hand."""
    if not verdict.experts:
        return
    numbers = ", ".join(f"{each.name} {each.psnr:.1f} dB" for each in verdict.experts)
    logger.info("experts at %s: %s", ", ".join(verdict.views), numbers)
    for line in verdict.warnings():
        logger.warning("%s: %s", scene.root, line)
