"""The judge: a camera that nobody learned from says how far a router is to go to the uniform mean at new views."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import torch

from common.maths.tensors import image_from_uint8
from engine.evaluation.scoring import evenly_spread
from engine.runs.device import wait
from engine.runs.run import Run, mix_view
from engine.runs.saved.judgement import Judgement
from engine.training.router.schedule import judge_camera

logger = logging.getLogger(__name__)

FRAMES = 10  # of the judge, at most, evenly spread


def judged(run: Run) -> Judgement | None:
    """The share s of the uniform mean U whose image (1 - s) M + s U is nearest to the judge's frames T.

    M is the mixture as learned, s = sum (T - M) (U - M) / sum (U - M)^2, within 0 ... 1: the least squares of a line.
    None where the scene has no judge.
    """
    view = judge_camera(run.scene)
    if view is None:
        return None
    frames = evenly_spread(run.scene.num_frames, FRAMES)
    fitted, length, error, numbers = 0.0, 0.0, 0.0, 0
    for frame in frames:
        truth = image_from_uint8(torch.from_numpy(run.scene.frames.read(view, frame).copy())).to(run.device)
        mixture, mean = (mix_view(_shrunk_by(run, share), view, frame).image for share in (0.0, 1.0))
        wait(run.compute)
        wanted, possible = (truth - mixture).double(), (mean - mixture).double()
        fitted += float((wanted * possible).sum())
        length += float(possible.square().sum())
        error += float(wanted.square().sum())
        numbers += truth.numel()
    share = min(max(fitted / length, 0.0), 1.0) if length > 0 else 0.0
    values = [_psnr((error - 2 * s * fitted + s * s * length) / numbers) for s in (0.0, 1.0, share)]
    found = Judgement(
        camera=run.scene.views[view].name,
        frames=len(frames),
        towards_mean=share,
        mixture=values[0],
        mean=values[1],
        shrunk=values[2],
    )
    logger.info(
        "the judge %s: mixture %.2f dB, mean %.2f dB, shrunk by %.2f: %.2f dB",
        *(found.camera, found.mixture, found.mean, found.towards_mean, found.shrunk),
    )
    return found


def with_judgement(run: Run, judgement: Judgement | None) -> Run:
    """The run that follows a judgement at cameras that were not trained on; None: the run's own share stays."""
    return run if judgement is None else replace(_shrunk_by(run, judgement.towards_mean), judgement=judgement)


def _shrunk_by(run: Run, share: float) -> Run:
    return replace(run, novel=replace(run.novel, towards_mean=share))


def _psnr(squared_error: float) -> float:
    return -10 * math.log10(max(squared_error, 1e-12))
