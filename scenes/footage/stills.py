"""Cameras whose frames show nothing: images of one colour, and footage that repeats a frame while the others move."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLAT = 3.0  # 8-bit values: standard deviation of an image of one colour, at most
SAME = 0.05  # 8-bit values: mean difference of frames that are the same
FROZEN, MOVING = 0.5, 0.1  # share of neighbouring frames that are the same: of a frozen camera, of the usual one


def one_colour(names: Sequence[str], frames: Sequence[Sequence[np.ndarray]]) -> list[str]:
    """Warn of cameras of which all given frames [h, w, 3] have one colour."""
    flat = [
        f"{name} (value {np.mean(images):.0f} of 255)"
        for name, images in zip(names, frames, strict=True)
        if max(float(image.std(axis=(0, 1)).max()) for image in images) < FLAT
    ]
    if not flat:
        return []
    return [f"shows one colour only: {', '.join(flat)}; look at its footage, or leave the camera out"]


def frozen(names: Sequence[str], clips: Sequence[np.ndarray]) -> list[str]:
    """Warn of cameras whose clips [frames, h, w] repeat their frames while those of most others do not."""
    shares = {
        name: float((np.abs(np.diff(clip.astype(np.int16), axis=0)).mean(axis=(1, 2)) < SAME).mean())
        for name, clip in zip(names, clips, strict=True)
        if len(clip) > 1
    }
    if not shares or float(np.median(list(shares.values()))) > MOVING:
        return []
    stuck = [f"{name} ({share:.0%} of its frames)" for name, share in shares.items() if share >= FROZEN]
    if not stuck:
        return []
    return [f"repeats its frames while the others move: {', '.join(stuck)}; look at its footage, or leave it out"]
