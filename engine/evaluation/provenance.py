"""The origin of numbers: hashes of the images that were scored, sizes, times, and earlier results that are kept."""

from __future__ import annotations

import hashlib
import logging
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from common import ranks
from common.disk.files import read_json
from common.text.units import MEGABYTE
from engine.checks.experts import EXPERT_REPORT
from engine.evaluation.measures.preparation import TRUTH
from engine.outputs.background import Background
from engine.runs.run import Run
from engine.runs.saved.router_tensors import named_tensors
from experts.base import Expert

logger = logging.getLogger(__name__)

FRAMES_WAITING = 4  # of each method, while hashing is behind
CONDITIONS = (
    "temperature",
    "novel_near",
    "coverage_guard",
    "towards_mean",
    "fill_holes",
    "network_precision",
    "fast",
)  # of results, by which images differ
SOURCES = ("lpips", "lpips_alex", "lpips_vgg")  # metrics whose scores differ by the source of their weights
RULE, OF_FRAMES = "rule", "SHA-256 of the frames' SHA-256"  # key and value among hashes: how those of images are made
OF_IMAGES = ("predictions", "truth")  # keys among hashes
WARM_UP = 3  # first frames whose time says nothing of the others


class ImageHashes:
    """SHA-256 of 8-bit images, method by method: that of the frames' SHA-256 in the order in which they are added.

    So several ranks can hash a part each. Each method has a thread: one thread for all of them is slower than a GPU
    scores. The caller leaves the images as they are. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._digests: dict[str, list[bytes]] = {TRUTH: []}  # of the frames
        self._threads: dict[str, Background] = {}
        self._stack = ExitStack()

    def add(self, images: Mapping[str, np.ndarray], truth: np.ndarray) -> None:
        """Count a frame: the image of each method, and the recorded one, all uint8 [h, w, 3].

        Waits where a method is FRAMES_WAITING frames behind; raises an earlier frame's error.
        """
        for name, image in {**images, TRUTH: truth}.items():
            if name not in self._threads:
                thread = Background(f"hash {name}", waiting=FRAMES_WAITING)
                self._threads[name] = self._stack.enter_context(thread)
            self._threads[name].add(_add_digest, self._digests.setdefault(name, []), np.ascontiguousarray(image))

    def facts(self) -> dict[str, Any]:
        """Wait for the threads, and give the hashes of all ranks' images so far, for result files."""
        self._finish()
        parts = ranks.gathered(self._digests)
        names = dict.fromkeys(name for part in parts for name in part)
        digests = {name: b"".join(digest for part in parts for digest in part.get(name, ())) for name in names}
        hashes = {name: hashlib.sha256(joined).hexdigest() for name, joined in digests.items()}
        truth = hashes.pop(TRUTH)
        return {"predictions": hashes, "truth": truth, RULE: OF_FRAMES}

    def _finish(self) -> None:
        for thread in self._threads.values():
            thread.finish()

    def __enter__(self) -> ImageHashes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._stack:
            if kind is None:
                self._finish()


def _add_digest(digests: list[bytes], image: np.ndarray) -> None:
    digests.append(hashlib.sha256(image.data).digest())


def frames_per_second(seconds: Sequence[float]) -> float:
    """Compute images a second by the median time of a frame; the first WARM_UP do not count if there are others."""
    return 1 / statistics.median(seconds[WARM_UP:] or seconds)


def gaussian_counts(run: Run) -> dict[str, Any]:
    """Count the Gaussians of each expert, and of all."""
    counts = {expert.name: expert.num_gaussians for expert in run.experts}
    return {"experts": counts, "total": sum(counts.values())}


def megabytes(run: Run) -> dict[str, Any]:
    """Measure the files of each expert, that of the router, and all together, 10^6 bytes.

    Of a router that is not saved, its tensors are measured.
    """
    sizes = {expert.name: _file_bytes(expert.provenance.files) for expert in run.experts}
    router = run.router.file_bytes
    if router is None:
        router = sum(tensor.nbytes for tensor in named_tensors(run.router).values())
    total = router + sum(sizes.values())
    return {
        "experts": {name: size / MEGABYTE for name, size in sizes.items()},
        "router": router / MEGABYTE,
        "total": total / MEGABYTE,
    }


def training_seconds(run: Run) -> dict[str, Any]:
    """Give the seconds of the router's training and of each expert's; None where they are not recorded."""
    return {
        "router": run.training_seconds,
        "experts": {expert.name: expert_seconds(expert) for expert in run.experts},
    }


def expert_seconds(expert: Expert) -> float | None:
    """Give the seconds of an expert's training by the reports beside its files, those of its segments added up.

    None where a folder has no report that can be read.
    """
    folders = dict.fromkeys(model_folder(path) for path in expert.provenance.files)
    seconds = [_reported_seconds(folder / EXPERT_REPORT) for folder in folders]
    known = [value for value in seconds if value is not None]
    return sum(known) if known and len(known) == len(seconds) else None


def model_folder(path: Path) -> Path:
    """Give the folder of the model that a file belongs to: the one with `point_cloud`, else the file's own."""
    return next((parent.parent for parent in path.parents if parent.name == "point_cloud"), path.parent)


def _reported_seconds(path: Path) -> float | None:
    try:
        return float(read_json(path)["training_seconds"])
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _file_bytes(paths: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def keep_other_results(path: Path, report: Mapping[str, Any]) -> Path | None:
    """Rename a result file of other contents than a report's to its first free `<name>.old-N.json`, and log that.

    None: there is no such file, or the report has all that is in it: scores, frames, hashes and conditions.
    """
    try:
        earlier = read_json(path)
        differing = list(dict.fromkeys([*_differences(earlier, report), *_losses(earlier, report)]))
    except FileNotFoundError:
        return None
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        differing = ["a damaged file"]
    if not differing:
        return None
    names = (path.with_name(f"{path.stem}.old-{number}{path.suffix}") for number in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    os.rename(path, aside)
    logger.info("kept the earlier %s as %s (differs in: %s)", path.name, aside, ", ".join(differing))
    return aside


def _differences(earlier: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Names of the hashes and conditions that two results have in common and that differ."""
    old, new = (dict(result.get("hashes") or {}) for result in (earlier, report))
    if old.pop(RULE, None) != new.pop(RULE, None):  # of an earlier version
        old = {name: value for name, value in old.items() if name not in OF_IMAGES}
    before, now = (_frame_scores(result) for result in (earlier, report))
    more = bool(before) and before.keys() < now.keys()  # results of an earlier version have none
    if more:  # hashes of fewer images tell nothing, and their scores do
        old = {name: value for name, value in old.items() if name not in OF_IMAGES}
    names = [name for name in old if name in new and _differ(old[name], new[name])]
    names += ["scores"] if more and any(_changed(scores, now[frame]) for frame, scores in before.items()) else []
    protocols = [(result.get("protocol") or {}).get("name") for result in (earlier, report)]
    names += ["protocol"] if None not in protocols and protocols[0] != protocols[1] else []
    names += [name for name in CONDITIONS if name in earlier and name in report and earlier[name] != report[name]]
    measured = _measured(earlier.get("means") or {})  # else the source is the reason why not
    names += [name for name in SOURCES if name in measured and _weights(earlier, name) != _weights(report, name)]
    bases = [_baseline_files(result) for result in (earlier, report)]
    return [*names, *(["baselines"] if _differ(*bases) else [])]


def _frame_scores(report: Mapping[str, Any]) -> dict[tuple[str, int], Mapping[str, Any]]:
    """The scores of each frame by method, by camera and frame."""
    return {(frame["camera"], frame["frame"]): frame.get("scores") or {} for frame in report.get("per_frame") or ()}


def _changed(old: Any, new: Any) -> bool:
    """True where two scores that were both measured differ, or tables of scores in one that both have."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return any(_changed(value, new.get(name)) for name, value in old.items())
    return old is not None and new is not None and bool(old != new)


def _measured(means: Mapping[str, Any]) -> set[str]:
    """Names that have a value in tables of scores, of one method or of several."""
    inner = (_measured(value) for value in means.values() if isinstance(value, Mapping))
    return {name for name, value in means.items() if value is not None}.union(*inner)


def _weights(report: Mapping[str, Any], metric: str) -> Any:
    return report.get(f"{metric}_weights")


def _baseline_files(report: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the scores of each baseline besides the hashes: another training's files, the fitted frames."""
    baselines = {name: facts for name, facts in (report.get("baselines") or {}).items() if isinstance(facts, Mapping)}
    return {name: [facts.get("files"), facts.get("fitted_on")] for name, facts in baselines.items()}


def _losses(earlier: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Names of the methods and metrics that an earlier result has scores of and a report has not; lost frames."""
    lost = dict.fromkeys(_lost(earlier.get("means") or {}, report.get("means") or {}))
    old, new = (_frame_scores(result).keys() for result in (earlier, report))
    return [*lost, *(["frames"] if old - new else [])]


def _lost(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, value in old.items():
        present = new.get(name)
        if value is not None and present is None:
            yield name
        elif isinstance(value, Mapping) and isinstance(present, Mapping):
            yield from _lost(value, present)


def _differ(old: Any, new: Any) -> bool:
    """True where two hashes differ, or two tables of hashes in a name that both have."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return any(name in new and old[name] != new[name] for name in old)
    return bool(old != new)
