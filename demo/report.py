"""What a rendered run shows: the mixture against what it must beat, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigError
from engine.evaluation.results import CONSTANT, UNIFORM
from engine.outputs.files import results_folder
from engine.outputs.image_writer import BLEND

TITLES = {UNIFORM: "uniform mean", CONSTANT: "best constants", BLEND: "MoE-GS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Scores of a rendered iteration on the held-out cameras."""

    psnr: Mapping[str, float]  # mean dB per method: experts, uniform mean, best constants, mixture
    videos: tuple[Path, ...]

    @property
    def best_expert(self) -> str:
        experts = [name for name in self.psnr if name not in TITLES]
        return max(experts, key=lambda name: self.psnr[name])

    @property
    def gains(self) -> dict[str, float]:
        """Decibels by which the mixture is above its best expert and above the uniform mean."""
        return {name: self.psnr[BLEND] - self.psnr[name] for name in (self.best_expert, UNIFORM)}

    @property
    def wins(self) -> bool:
        return min(self.gains.values()) > 0


def read_verdict(save_path: Path) -> Verdict:
    """The verdict on the newest rendered iteration of a run; ConfigError where none was rendered."""
    folder = _newest(save_path)
    means = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["means"]
    return Verdict(
        psnr={name: float(scores["psnr"]) for name, scores in means.items()},
        videos=tuple(sorted((folder / "videos").glob("*.mp4"), key=lambda path: (BLEND not in path.name, path.name))),
    )


def table(verdict: Verdict) -> str:
    """PSNR per method, the mixture last, what it gains, and where the videos are."""
    order = [*(name for name in verdict.psnr if name not in TITLES), *(name for name in TITLES if name in verdict.psnr)]
    lines = ["PSNR on the held-out camera, dB"]
    lines += [f"  {TITLES.get(name, name):15} {verdict.psnr[name]:6.2f}" for name in order]
    above = [f"{gain:+.2f} dB over {TITLES.get(name, name)}" for name, gain in verdict.gains.items()]
    lines.append(f"MoE-GS: {', '.join(above)}")
    lines += ["Videos", *(f"  {path}" for path in verdict.videos)]
    return "\n".join(lines)


def _newest(save_path: Path) -> Path:
    """Folder of the highest iteration rendered from the held-out cameras."""
    parent = results_folder(save_path, "test", 0).parent
    rendered = {
        int(path.parent.name.removeprefix("itrs_")): path.parent
        for path in parent.glob("itrs_*/metrics.json")
        if path.parent.name.removeprefix("itrs_").isdecimal()
    }
    if not rendered:
        raise ConfigError(f"{parent}: no metrics.json in an itrs_<N> folder; render the run first with render_E4.py")
    return rendered[max(rendered)]
