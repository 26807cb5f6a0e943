"""The clip that an expert was trained on here, compared with the run's before anything is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.text.wording import counted
from engine.checks.experts import EXPERT_REPORT
from engine.evaluation.provenance import model_folder
from experts import EXPERTS
from experts.base import CheckpointError, Expert
from experts.formats.cfg_args import CFG_ARGS, read_cfg_args
from experts.formats.settings import CLIP_FRAMES, FIRST_FRAME, FRAME_RATE, PRESET
from experts.splats.model import Splats
from experts.windows.folders import windows_below
from router import kind_of
from scenes import Scene

SAME_RATE = 1.01  # ratio of frame rates up to which they are the same: 29.97 is written as 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A folder of an expert with a cfg_args of its own, and the frames that the run shows by it."""

    folder: Path
    first: int  # in the clip
    frames: int


def check_trained_clip(expert: Expert, scene: Scene, folder: Path, *, expert_frames: int | None) -> None:
    """Raises CheckpointError where an expert that was trained here was trained on other moments than the clip's.

    Its first frame, its number of frames and its frame rate are compared with the run's, window by window and segment
    by segment. Files of other programs say nothing here: they use the same names with other meanings.
    expert_frames: the number of frames that the user gave in the place of the recorded one.
    """
    if isinstance(expert, Splats):
        _check_exported(expert, scene, folder)
    read = list(dict.fromkeys(map(model_folder, expert.provenance.files)))
    _check(expert.name, scene, folder, read, expert_frames=expert_frames)


@contextmanager
def clip_told_first(name: str, scene: Scene, folder: Path, *, expert_frames: int | None) -> Iterator[None]:
    """Turns the CheckpointError of an expert that cannot be loaded into that of `check_trained_clip`, if it has one.

    A segment that seems to be missing is none where the segments are those of other frames.
    """
    try:
        yield
    except CheckpointError:
        _check(name, scene, folder, _below(name, scene, folder), expert_frames=expert_frames)
        raise


def _check(name: str, scene: Scene, folder: Path, read: Sequence[Path], *, expert_frames: int | None) -> None:
    for part in _parts(name, scene, folder, read):
        facts = read_cfg_args(part.folder) or {}
        if PRESET in facts or (part.folder / EXPERT_REPORT).is_file():
            _check_first(name, scene, part, facts)
            _check_rate(name, scene, part, facts)
            if expert_frames is None:
                _check_count(name, scene, part, facts)


def _check_exported(splats: Splats, scene: Scene, path: Path) -> None:
    """Raises CheckpointError where files that `export` wrote begin at another frame of the footage than the clip."""
    first = splats.first_frame
    if first is not None and first != scene.start:
        raise CheckpointError(
            f"{path}: {splats.name} was exported from frame {first} of the footage on, and this run shows it from "
            f"frame {scene.start} on; give --start_timestamp {first}, or an export of this clip"
        )


def _below(name: str, scene: Scene, folder: Path) -> list[Path]:
    """The windows or segments in an expert's folder, those of the scene where others are beside them; else itself."""
    spec = EXPERTS[kind_of(name)]
    names = [window.name for window in windows_below(folder)]
    if spec.segments is not None:
        segments = spec.segments.names(folder)
        named = ([each for each in segments if each.startswith(f"{own}_")] for own in (scene.name, folder.name))
        names += next(filter(None, named), segments)
    return [folder / each for each in names] or [folder]


def _parts(name: str, scene: Scene, folder: Path, read: Sequence[Path]) -> Iterator[_Part]:
    """The parts of an expert that a clip shows. read: the folders of its windows or segments, or its own."""
    spec = EXPERTS[kind_of(name)]
    known = {window.name: (window.first, window.last) for window in windows_below(folder)}
    if spec.segments is not None:
        known |= {each: spec.segments.frames(each) for each in spec.segments.names(folder)}
    for own in read:
        first, last = known.get(own.name, (0, scene.num_frames - 1))
        if first < scene.num_frames:
            yield _Part(folder=own, first=first, frames=min(last + 1, scene.num_frames) - first)


def _check_first(name: str, scene: Scene, part: _Part, facts: Mapping[str, object]) -> None:
    trained, wanted = facts.get(FIRST_FRAME), scene.start + part.first
    if not isinstance(trained, int) or trained == wanted:
        return
    begins = trained - part.first
    same = f"give --start_timestamp {begins}, " if begins >= 0 else ""
    raise CheckpointError(
        f"{part.folder}: {name} was trained from frame {trained} of the footage on, and this run shows it from frame "
        f"{wanted} on; {same}an expert of this clip, or mend {FIRST_FRAME} in its {CFG_ARGS} where the same frames "
        "have other numbers now"
    )


def _check_rate(name: str, scene: Scene, part: _Part, facts: Mapping[str, object]) -> None:
    trained, own = facts.get(FRAME_RATE), scene.frame_rate
    if not isinstance(trained, int | float) or trained <= 0 or own is None:
        return
    if max(trained / own, own / trained) > SAME_RATE:
        raise CheckpointError(
            f"{part.folder}: {name} was trained on {trained:.4g} frames a second, and the videos of {scene.root} have "
            f"{float(own):.4g}: its frame N is another moment than theirs; give an expert of these videos, or the "
            "videos of its training"
        )


def _check_count(name: str, scene: Scene, part: _Part, facts: Mapping[str, object]) -> None:
    trained = facts.get(CLIP_FRAMES)
    if isinstance(trained, int) and trained < part.frames:
        raise CheckpointError(
            f"{part.folder}: {name} was trained on {counted(trained, 'frame')}, and this run shows "
            f"{part.frames:,} by it; shorten the clip with --duration, or give an expert of the whole clip"
        )
