"""Image metrics under a named protocol: a number of this field means little without one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.evaluation.lpips import Lpips, LpipsNet
from losses.structural_similarity import RADIUS, ssim_map

STRIP = 128  # rows of an image whose SSIM a CPU computes at a time: they stay in its cache


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricProtocol:
    """How an image is prepared and what is measured; SSIM is 3DGS's (11x11 Gaussian, sigma 1.5, data range 1)."""

    name: str
    eight_bit: bool  # clamp to [0, 1] and round to 8 bits first, as a file would hold it
    lpips_net: LpipsNet
    lpips_rescaled: bool  # feed LPIPS [-1, 1], as it was trained; otherwise [0, 1], the habit of 3DGS's code

    def describe(self) -> dict[str, str]:
        """The protocol in words, for result files."""
        rounding = "clamped to [0, 1] and rounded to 8 bits" if self.eight_bit else "unclamped floats"
        return {
            "name": self.name,
            "image": rounding,
            "psnr": "-10 log10(mean squared error over pixels and channels), data range 1, mean over frames",
            "ssim": "3DGS: 11x11 Gaussian window of sigma 1.5, zero padding, data range 1, mean over frames",
            "lpips": f"{self.lpips_net} v0.1, inputs in {'[-1, 1]' if self.lpips_rescaled else '[0, 1]'}",
        }


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        MetricProtocol(name="8bit", eight_bit=True, lpips_net="alex", lpips_rescaled=True),
        MetricProtocol(name="8bit_vgg", eight_bit=True, lpips_net="vgg", lpips_rescaled=True),
        MetricProtocol(name="upstream", eight_bit=False, lpips_net="alex", lpips_rescaled=False),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Quality of one image, or a mean of several."""

    psnr: float  # dB
    ssim: float
    lpips: float | None  # None: not measured


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSuite:
    """A protocol, with LPIPS's network where there is one."""

    protocol: MetricProtocol
    lpips: Lpips | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A true frame, made ready once for several comparisons."""

    image: Tensor  # [3, h, w] in [0, 1]
    features: list[Tensor] | None  # LPIPS's


@torch.no_grad()
def prepare_target(suite: MetricSuite, image: Tensor) -> Target:
    """A true frame [3, h, w] in [0, 1] as the protocol wants it; 8-bit frames divided by 255 are not changed by it."""
    prepared = _prepare(suite, image.clamp(0, 1))
    return Target(image=prepared, features=_features(suite, prepared))


@torch.no_grad()
def score(suite: MetricSuite, image: Tensor, target: Target) -> Scores:
    """Scores of a render [3, h, w] against a true frame."""
    prepared = _prepare(suite, image)
    features = _features(suite, prepared)
    lpips = None
    if suite.lpips is not None and features is not None and target.features is not None:
        lpips = float(suite.lpips.distance(features, target.features))
    return Scores(psnr=psnr(prepared, target.image), ssim=ssim(prepared, target.image), lpips=lpips)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for data range 1, over all pixels and channels; infinite for equal images."""
    error = (a.double() - b.double()).square().mean()
    return float(-10 * torch.log10(error))


def ssim(a: Tensor, b: Tensor) -> float:
    """3DGS's SSIM of two images [3, h, w] with data range 1, by strips of rows on a CPU (twice as fast)."""
    height, total = a.shape[-2], 0.0
    rows = STRIP if a.device.type == "cpu" else height
    for top in range(0, height, rows):
        first, last = max(0, top - RADIUS), min(height, top + rows + RADIUS)
        strip = ssim_map(a[:, first:last], b[:, first:last])[:, top - first : top - first + rows]
        total += float(strip[:, : height - top].double().sum())
    return total / a.numel()


def mean_scores(scores: list[Scores]) -> Scores:
    """Mean over frames, each metric alone (the mean of PSNRs, not the PSNR of the mean error)."""
    lpips = [item.lpips for item in scores if item.lpips is not None]
    return Scores(
        psnr=sum(item.psnr for item in scores) / len(scores),
        ssim=sum(item.ssim for item in scores) / len(scores),
        lpips=sum(lpips) / len(lpips) if len(lpips) == len(scores) else None,
    )


def _prepare(suite: MetricSuite, image: Tensor) -> Tensor:
    image = image.float()
    return (image.clamp(0, 1) * 255).round() / 255 if suite.protocol.eight_bit else image


def _features(suite: MetricSuite, image: Tensor) -> list[Tensor] | None:
    if suite.lpips is None:
        return None
    return suite.lpips.features(image * 2 - 1 if suite.protocol.lpips_rescaled else image)
