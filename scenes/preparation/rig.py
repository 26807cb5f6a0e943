"""Checks of a rig's footage: differing counts and sizes, cameras that move.

A camera is compared with itself: its first frame with later ones, on grey images _WIDTH px wide. The image is cut
into half-overlapping tiles, and phase correlation finds each tile's shift to a fraction of a px. Tiles without texture,
and those without one clear peak (something passed through them), say nothing. Whatever moves in the scene, the
background of a still camera stays where it was; when the camera turns, travels or zooms, hardly any tile does. So a
camera moves if fewer than STILL_SHARE of the telling tiles stay within STAYS px, or if no tile is found again at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from common.text.wording import counted
from scenes.frames.clip import Clip
from scenes.frames.image_files import rotation_notes
from scenes.frames.sources import FrameSource, decode
from scenes.frames.video import Video, decode_keyframes

LATER = (1, 3, 10, 30)  # frames after the first; further ones are spread over the clip
SPREAD = 6
_WIDTH = 480
TILE = 64
TEXTURE = 3.0  # grey levels: standard deviation of a tile under its window, below which it says nothing
PEAK = 6.0  # of the correlation over its standard deviation, below which a tile is not found again
WHITENING = 0.7  # 1: phase correlation proper, 0: cross-correlation; with 1, grain hides where blurred tiles stay
STAYS = 0.3  # px of an image _WIDTH px wide
STILL_SHARE = 0.15
FEWEST_TILES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMotion:
    """Comparison of the tiles of two frames of one camera."""

    textured: int  # tiles with texture in both frames
    matched: int  # of them, tiles found again
    still: int  # of them, tiles that stay
    shift: float  # px of an image _WIDTH px wide: median over the tiles found again

    @property
    def judged(self) -> bool:
        return self.textured >= FEWEST_TILES

    @property
    def moves(self) -> bool:
        return self.judged and self.still < STILL_SHARE * max(self.matched, FEWEST_TILES)


def size_notes(sources: Mapping[str, FrameSource]) -> list[str]:
    """Remark on cameras that differ in frame size or in their number of frames, and on images with a rotation."""
    notes = rotation_notes(sources)
    for what, values in (
        ("frame size", {name: f"{source.width}x{source.height} px" for name, source in sources.items()}),
        (
            "number of frames",
            {name: counted(source.last - source.first + 1, "frame") for name, source in sources.items()},
        ),
    ):
        if len(set(values.values())) > 1:
            groups = {
                value: [name for name in values if values[name] == value] for value in sorted(set(values.values()))
            }
            shown = "; ".join(f"{value}: {_few(names)}" for value, names in groups.items())
            notes.append(f"cameras differ in {what}: {shown}")
    return notes


def motion_of(source: FrameSource, clip: Clip) -> CameraMotion:
    """Compare a camera's first frame with later ones; returns what speaks most for its moving.

    SceneError where the footage is damaged.
    """
    frames = _frames(source, clip)
    first = _tiles(next(frames))
    comparisons = [compare_tiles(first, _tiles(frame)) for frame in frames]
    if not comparisons:
        return CameraMotion(textured=0, matched=0, still=0, shift=0.0)
    moving = [motion for motion in comparisons if motion.moves]
    return moving[0] if moving else max(comparisons, key=lambda motion: motion.shift)


def described_motion(motion: CameraMotion) -> str:
    """Describe a camera's motion, as the end of a sentence."""
    if motion.matched < FEWEST_TILES:
        return f"of {motion.textured} textured places {motion.matched} are found again in a later frame"
    share = motion.still / motion.matched
    return f"{share:.0%} of {motion.matched} places stay, the median shift is {motion.shift / _WIDTH:.2%} of the width"


def compare_tiles(first: np.ndarray, later: np.ndarray) -> CameraMotion:
    """Compare tiles [n, TILE, TILE] of two frames, windowed and without their mean, by phase correlation."""
    textured = (first.std(axis=(1, 2)) > TEXTURE) & (later.std(axis=(1, 2)) > TEXTURE)
    if not textured.any():
        return CameraMotion(textured=0, matched=0, still=0, shift=0.0)
    shifts, peaks = phase_shifts(first[textured], later[textured])
    lengths = np.linalg.norm(shifts[peaks > PEAK], axis=1)
    return CameraMotion(
        textured=int(textured.sum()),
        matched=len(lengths),
        still=int((lengths < STAYS).sum()),
        shift=float(np.median(lengths)) if len(lengths) else 0.0,
    )


def phase_shifts(first: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure shifts (x, y) [n, 2] in px from tiles to their later selves, and their peaks in standard deviations.

    Noise and compression are kept down: high frequencies are damped by a Gaussian, and the spectrum is whitened in part
    only. The peak is placed between px by a parabola along each axis.
    """
    spectrum = np.conj(np.fft.rfft2(first)) * np.fft.rfft2(later)
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    spectrum *= np.exp(-((frequency / 0.2) ** 2)) / np.maximum(np.abs(spectrum), 1e-6) ** WHITENING
    correlation = np.fft.irfft2(spectrum, s=(TILE, TILE))
    flat = correlation.reshape(len(correlation), -1)
    rows, columns = np.divmod(flat.argmax(axis=1), TILE)
    picked = np.arange(len(flat))
    y = rows + _parabola(*(correlation[picked, (rows + step) % TILE, columns] for step in (-1, 0, 1)))
    x = columns + _parabola(*(correlation[picked, rows, (columns + step) % TILE] for step in (-1, 0, 1)))
    shifts = (np.stack([x, y], axis=1) + TILE / 2) % TILE - TILE / 2
    return shifts, flat.max(axis=1) / np.maximum(flat.std(axis=1), 1e-12)


def _parabola(before: np.ndarray, peak: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Position between -0.5 and 0.5 of the top of the parabola through three neighbouring values."""
    curvature = before - 2 * peak + after
    return np.where(curvature < 0, 0.5 * (before - after) / np.where(curvature < 0, curvature, -1.0), 0.0)


def _frames(source: FrameSource, clip: Clip) -> Iterator[np.ndarray]:
    """Frames of the clip: the first, soon after it, and spread over it (a video's key frames, which are quick)."""
    near = [offset for offset in (0, *LATER) if offset < clip.count]
    for offset, frame in enumerate(decode(source, clip.start, near[-1] + 1, threads=2)):
        if offset in near:
            yield frame
    if isinstance(source, Video):
        yield from decode_keyframes(source, clip.start + near[-1] + 1, SPREAD)
    else:
        far = {round(offset) for offset in np.linspace(near[-1], clip.count - 1, SPREAD + 1)[1:]} - set(near)
        for offset in sorted(far):
            yield from decode(source, clip.start + offset, 1)


def _tiles(frame: np.ndarray) -> np.ndarray:
    """Half-overlapping tiles [n, TILE, TILE] of the small grey image, without their mean and under a window."""
    height, width = frame.shape[:2]
    size = (_WIDTH, max(TILE, round(height * _WIDTH / width)))
    grey = np.asarray(Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BOX), np.float32)
    views = np.lib.stride_tricks.sliding_window_view(grey, (TILE, TILE))[:: TILE // 2, :: TILE // 2]
    tiles = views.reshape(-1, TILE, TILE)
    window = np.outer(np.hanning(TILE), np.hanning(TILE)).astype(np.float32)
    return (tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
