"""Numbers of each camera's frames, and the warnings that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, expm1, log
from statistics import median

from scenes.footage.shared_points import LITTLE_SHARED, OTHER_COLOURS, OTHER_SCENE, ColourMatch
from scenes.footage.sharpness import BLURRED
from scenes.footage.synchrony import Offset

_NAMED = 3  # cameras with their numbers in one warning
_TINT = 0.03  # ln: a channel so far from the mean of the three gives a tint
_TINTS = (("redder", "more cyan"), ("greener", "more magenta"), ("bluer", "yellower"))  # more, or less, of a channel
CHANGES = 1.5  # frames by which the offsets at both ends differ from which the offset is not constant
_LEAVE_OUT = "leave the camera out (remove its footage and its row of poses_bounds.npy or cameras_parameters.txt)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFrames:
    """Measurements of one camera's frames; None: not measured."""

    name: str
    offset: Offset | None  # in time, from the other cameras
    colours: ColourMatch | None  # of start points, with those in the other cameras
    sharpness: float | None  # over the median camera's
    shared: float | None  # share of the image in which two other cameras see start points


def frame_warnings(rows: Sequence[CameraFrames], ends: Mapping[str, tuple[float, float]] | None = None) -> list[str]:
    """Warn of cameras that stand out, one line for each camera out of step and one line for each other fault.

    ends: offsets at the clip's first and last frames, of cameras out of step where they are known.
    """
    return [*_out_of_step(rows, ends or {}), *_other_colours(rows), *_blurred(rows), *_disagreeing(rows), *_apart(rows)]


def _out_of_step(rows: Sequence[CameraFrames], ends: Mapping[str, tuple[float, float]]) -> list[str]:
    warnings = []
    for row in rows:
        offset = row.offset
        if offset is None or not offset.is_out_of_step:
            continue
        first, last = ends.get(row.name, (offset.frames, offset.frames))
        if abs(last - first) >= CHANGES:
            warnings.append(
                f"{row.name} does not stay in step with the other cameras: {_delay(first)} at the clip's begin, "
                f"{_delay(last)} at its end; it lost frames, or its clock runs differently: convert it again with even "
                f"frames, or {_LEAVE_OUT}"
            )
            continue
        behind = offset.frames > 0
        whole = max(1, round(abs(offset.frames)))
        frames = "first frame" if whole == 1 else f"first {whole} frames"
        cut = f"cut the {frames} off {'its video' if behind else 'the videos of the others'}"
        warnings.append(
            f"{row.name} is {abs(offset.frames):.1f} frames {'behind' if behind else 'ahead of'} the other cameras "
            f"(correlation {offset.correlation:.3f}, {offset.peak:.0f} standard deviations above other offsets; "
            f"at offset 0: {offset.at_zero:.3f}): moving things blur or double; "
            f"{cut}, or {_LEAVE_OUT}"
        )
    return warnings


def _delay(frames: float) -> str:
    return f"{abs(frames):.1f} frames {'behind' if frames > 0 else 'ahead'}"


def _other_colours(rows: Sequence[CameraFrames]) -> list[str]:
    known = {row.name: row.colours.gains for row in rows if row.colours and row.colours.agreement >= OTHER_SCENE}
    differing = {name: gains for name, gains in known.items() if max(map(abs, gains)) >= log(1 + OTHER_COLOURS)}
    if not differing:
        return []
    worst = sorted(differing, key=lambda name: -max(map(abs, differing[name])))
    listed = "; ".join(f"{name} is {_colours(differing[name])}" for name in worst[:_NAMED])
    differ = "differs" if len(differing) == 1 else "differ"
    return [
        f"{len(differing)} of {len(known)} cameras {differ} in colour by {OTHER_COLOURS:.0%} or more in a channel: "
        f"{listed}{_more(worst)}; keep --colour_correction of train-expert on, and try --match_colours for the router"
    ]


def _colours(gains: tuple[float, float, float]) -> str:
    """ "18% darker and bluer (red -20%, green -18%, blue -10%)" """
    mean = sum(gains) / 3
    channel = max(range(3), key=lambda index: abs(gains[index] - mean))
    more, less = _TINTS[channel]
    tints = [more if gains[channel] > mean else less] if abs(gains[channel] - mean) >= _TINT else []
    numbers = ", ".join(
        f"{name} {expm1(gain):+.0%}" for name, gain in zip(("red", "green", "blue"), gains, strict=True)
    )
    words = [f"{abs(expm1(mean)):.0%} {'darker' if mean < 0 else 'brighter'}", *tints]
    return f"{' and '.join(words)} ({numbers})"


def _blurred(rows: Sequence[CameraFrames]) -> list[str]:
    blurred = [(row.sharpness, row.name) for row in rows if row.sharpness is not None and row.sharpness <= exp(BLURRED)]
    if not blurred:
        return []
    worst = [name for _, name in sorted(blurred)]
    listed = ", ".join(f"{name} ({sharpness:.0%} of their sharpness)" for sharpness, name in sorted(blurred)[:_NAMED])
    return [
        f"blurred in comparison with the other cameras: {listed}{_more(worst)}; look at the images, or {_LEAVE_OUT}"
    ]


def _disagreeing(rows: Sequence[CameraFrames]) -> list[str]:
    known = {row.name: row.colours.agreement for row in rows if row.colours}
    odd = sorted((name for name in known if known[name] < OTHER_SCENE), key=lambda name: known[name])
    if not odd or 2 * len(odd) > len(known):  # where most disagree, the start points are at fault, or poor
        return []
    listed = ", ".join(f"{name} (correlation {known[name]:.2f})" for name in odd[:_NAMED])
    return [
        f"shows other colours at the start points than the other cameras (median {median(known.values()):.2f}): "
        f"{listed}{_more(odd)}; its pose is wrong or its footage is another camera's: check both, or {_LEAVE_OUT}"
    ]


def _apart(rows: Sequence[CameraFrames]) -> list[str]:
    shares = {row.name: row.shared for row in rows if row.shared is not None}
    if not shares:
        return []
    limit = min(LITTLE_SHARED, 0.5 * median(shares.values()))  # where points are few, all cameras have a low share
    apart = sorted((name for name, share in shares.items() if share < limit), key=lambda name: shares[name])
    if not apart:
        return []
    listed = ", ".join(f"{name} ({shares[name]:.0%} of its image)" for name in apart[:_NAMED])
    return [
        f"sees almost nothing of what two other cameras see: {listed}{_more(apart)}; its pose is wrong or it looks "
        f"elsewhere: check the calibration, or {_LEAVE_OUT}"
    ]


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
