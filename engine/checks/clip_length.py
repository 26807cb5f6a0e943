"""The clip length that a model was trained on, found by rendering: its clock decides which frames it shows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeGuard

import numpy as np

from common.text.wording import counted
from engine.checks.probes import Probe, decibels, image_and_splat, read_probe, spread, squared_error
from engine.runs.device import ComputeDevice
from experts import EXPERTS
from experts.base import Expert
from router import kind_of
from scenes import Scene

logger = logging.getLogger(__name__)

USUAL = (300, 150, 100, 50)  # frames of published trainings
STRETCHES = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)  # of the clip, where no other number fits
FINER = (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)  # of the best stretch
CLEAR = 0.3  # dB by which the best number beats all that differ from it by DIFFERENT
DIFFERENT = 1.25  # ratio
SHOWN = 15.0  # dB below which images show another scene
AS_GOOD = 0.1  # dB within which a number with a reason is preferred to one without
_WIDTH, _VIEWS = 160, 2  # px and views of the images that are compared
_FRAMES = (1 / 3, 2 / 3, 1.0)  # of the clip


class ClockedExpert(Expert, Protocol):
    """An expert whose network sees frame / num_frames."""

    num_frames: int


def has_clock(expert: Expert) -> TypeGuard[ClockedExpert]:
    """Tells whether an expert divides frames by the length of the clip that it was trained on."""
    spec = EXPERTS.get(kind_of(expert.name))
    return spec is not None and spec.has_clock and hasattr(expert, "num_frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipLength:
    """Clip lengths that were tried on an expert."""

    best: int
    psnr: Mapping[int, float]  # dB by number of frames, over the same images
    is_clear: bool  # False: the images do not tell, as where nothing moves
    later: int = 0  # frames by which the model's clip begins before the run's, where that fits clearly better

    def gain(self, num_frames: int) -> float:
        """The dB by which the best is better than another that was tried."""
        return self.psnr[self.best] - self.psnr[num_frames]


def find_clip_length(
    expert: Expert, scene: Scene, *, reasons: Iterable[int], compute: ComputeDevice
) -> ClipLength | None:
    """The clip length at which an expert's images fit the frames best; None for one without a clock.

    reasons: numbers for which something speaks: the clip, the footage, other experts' lengths.
    """
    if not has_clock(expert) or scene.num_frames < 2:
        return None
    probes = _probes(scene, compute)
    tried, best, is_clear = _search(expert, probes, scene, reasons=reasons, compute=compute)
    later = 0
    if scene.start > 0:  # of the footage, which the model may have been trained on from its frame 0
        moved = [replace(probe, frame=probe.frame + scene.start) for probe in probes]
        of_footage, other, _ = _search(
            expert, moved, scene, reasons=[*reasons, scene.start + scene.footage_frames], compute=compute
        )
        if of_footage[other] - tried[best] >= CLEAR:
            tried, best, later = of_footage, other, scene.start
    return ClipLength(best=best, psnr=tried, is_clear=is_clear, later=later)


def _search(
    expert: ClockedExpert, probes: Sequence[Probe], scene: Scene, *, reasons: Iterable[int], compute: ComputeDevice
) -> tuple[dict[int, float], int, bool]:
    """PSNR by clip length, the best length, and whether it is clearly the best."""
    kept = expert.num_frames
    named = sorted({kept, scene.num_frames, *reasons, *USUAL})
    tried: dict[int, float] = {}

    def measure(numbers: Iterable[int]) -> None:
        for number in numbers:
            if number not in tried:
                expert.num_frames = number
                tried[number] = _psnr(expert, probes, compute)

    try:
        measure(named)
        measure(round(scene.num_frames * stretch) for stretch in STRETCHES)
        best = max(tried, key=lambda number: tried[number])
        if best not in named:
            measure(round(best * factor) for factor in FINER)
    finally:
        expert.num_frames = kept
    best = _preferred(tried, named)
    rivals = [psnr for number, psnr in tried.items() if max(number / best, best / number) > DIFFERENT]
    return tried, best, all(tried[best] - psnr >= CLEAR for psnr in rivals)


def settle_clip_lengths(scene: Scene, experts: Sequence[Expert], compute: ComputeDevice) -> dict[str, ClipLength]:
    """Tries clip lengths on every expert with a clock; sets the best where an expert's was assumed, and says so.

    A length that its cfg_args or --expert_frames give is not changed. Returns the lengths tried, by expert.
    """
    reasons = {expert.num_frames for expert in experts if has_clock(expert)} | {scene.footage_frames}
    clips = {}
    for expert in experts:
        clip = find_clip_length(expert, scene, reasons=reasons, compute=compute)
        if clip is not None and has_clock(expert):
            clips[expert.name] = clip
            if expert.provenance.clip_is_assumed:
                _settle(expert, clip)
    return clips


def _settle(expert: ClockedExpert, clip: ClipLength) -> None:
    assumed, flag = expert.num_frames, f"--expert_frames {expert.name}="
    if clip.later or clip.psnr[clip.best] < SHOWN:
        return  # the verdict has the cause
    if not clip.is_clear:
        logger.warning(
            "%s: trained on %s, which is assumed, not known (its checkpoint does not say, and images with other clip "
            "lengths fit the frames as well); give %sN if you know it",
            expert.name,
            counted(assumed, "frame"),
            flag,
        )
    elif clip.best == assumed or clip.gain(assumed) <= AS_GOOD:
        logger.info("%s: trained on %s, confirmed by rendering", expert.name, counted(assumed, "frame"))
    else:
        expert.num_frames = clip.best
        logger.warning(
            "%s: trained on %s, found by rendering (%.1f dB, %.1f dB with %d); the same as %s%d",
            expert.name,
            counted(clip.best, "frame"),
            clip.psnr[clip.best],
            clip.psnr[assumed],
            assumed,
            flag,
            clip.best,
        )


def _probes(scene: Scene, compute: ComputeDevice) -> list[Probe]:
    views = [scene.train[index] for index in spread(len(scene.train), _VIEWS)]
    frames = sorted({round((scene.num_frames - 1) * share) for share in _FRAMES})
    return [read_probe(scene, (view, frame), width=_WIDTH, device=compute.device) for frame in frames for view in views]


def _psnr(expert: Expert, probes: Sequence[Probe], compute: ComputeDevice) -> float:
    images = (image_and_splat(expert, probe, compute=compute)[0] for probe in probes)
    errors = [squared_error(image, probe.truth) for image, probe in zip(images, probes, strict=True)]
    return decibels(float(np.mean(errors)))


def _preferred(tried: Mapping[int, float], named: Sequence[int]) -> int:
    """The best number; of those within AS_GOOD of it, the best that something speaks for."""
    best = max(tried, key=lambda number: tried[number])
    close = [number for number in named if tried[best] - tried[number] <= AS_GOOD]
    return max(close, key=lambda number: tried[number], default=best)
