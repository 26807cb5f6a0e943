"""A judgement of a router by a camera that nobody learned from: how far to go to the uniform mean at new views."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The share of the uniform mean that is best at the judge, and PSNR in dB over all pixels of its frames."""

    camera: str
    frames: int
    towards_mean: float  # 0 ... 1
    mixture: float  # as learned
    mean: float  # of the experts, with equal weights
    shrunk: float  # the mixture whose gates are shrunk by `towards_mean`

    @classmethod
    def from_json(cls, entry: dict[str, Any] | None) -> Judgement | None:
        """A judgement of router.json; None where there was no judge."""
        return None if entry is None else cls(**entry)

    def to_json(self) -> dict[str, Any]:
        """The judgement as router.json and metrics.json have it."""
        return asdict(self)
