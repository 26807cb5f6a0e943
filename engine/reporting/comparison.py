"""Comparisons of a run's results with what its files show now; each difference is a sentence that names the file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.disk.files import files_hash
from common.maths.tensors import tensors_hash, to_uint8
from engine.evaluation.measures.metrics import METRICS, value_text
from engine.evaluation.measures.suite import Scores
from engine.evaluation.mixture_results import TITLES, TWICE
from engine.evaluation.scoring import mean_scores, mean_seconds
from engine.outputs.files import image_name
from engine.outputs.render_writer import MIXTURE
from engine.reporting.results import METRICS_FILE, UPSTREAM_FILE, Results, number, scores_of
from engine.runs.saved.checkpoint import FACTS, TENSORS, checkpoint_folder
from engine.runs.saved.expert_records import ExpertRecord, find_place
from engine.runs.saved.router_tensors import read_tensors
from engine.settings.parsing.config_file import read_object
from engine.settings.rendering.metric_protocols import PROTOCOLS
from engine.settings.training.experts import folder_argument
from experts.base import CheckpointError
from router import Mixture

OTHER_DEVICE = {"psnr": 0.02}  # largest difference of a frame's score on another device, dB
OTHER_DEVICE_ELSE = 0.002  # of SSIM and LPIPS
OTHER_DEVICE_LEVELS = 1.0  # root mean square difference of an image's 8-bit values
ROUNDING = 1e-9  # of means that are computed again


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The rule by which scores and images are the same."""

    same_device: bool  # as the one that measured: every printed digit and every pixel is the same there

    def scores(self, name: str, recorded: float | None, value: float | None) -> bool:
        """True where two values of a metric are the same by the rule."""
        if recorded is None or value is None:
            return recorded is value
        if recorded == value or (math.isnan(recorded) and math.isnan(value)):
            return True
        if self.same_device:
            return value_text(METRICS[name], recorded) == value_text(METRICS[name], value)
        return abs(recorded - value) <= OTHER_DEVICE.get(name, OTHER_DEVICE_ELSE)

    def images(self, recorded: np.ndarray, image: np.ndarray) -> bool:
        """True where two 8-bit images are the same by the rule."""
        if recorded.shape != image.shape:
            return False
        if self.same_device:
            return bool((recorded == image).all())
        return float(np.square(recorded.astype(float) - image).mean()) <= OTHER_DEVICE_LEVELS**2


def checkpoint_differences(save_path: Path, results: Results, *, moved: Mapping[str, Path]) -> Iterator[str]:
    """Name every file of the experts and of the router that is not the one that was trained and scored.

    moved: folders of experts that lie elsewhere, by name.
    """
    folder = checkpoint_folder(save_path, results.iteration)
    facts = read_object(folder / FACTS)
    for entry in facts["experts"]:
        record = ExpertRecord.from_json(entry)
        root = moved.get(record.name) or find_place(record, save_path)
        if root is None:
            where = folder_argument(record.name, by_name=True)
            yield f"{record.folder}: the {record.name} model is not there any more; say where with {where}"
        else:
            yield from expert_differences(record, root if root.is_dir() else root.parent)
    yield from _router_differences(folder, facts, results)


def expert_differences(record: ExpertRecord, root: Path) -> Iterator[str]:
    """Name every file of an expert that is missing or not the one that the router was trained with."""
    for name, expected in record.files.items():
        path = root / name
        if not path.is_file():
            yield f"{path}: missing; the router was trained with it"
        elif files_hash([path]) != expected:
            yield f"{path}: changed since the router was trained with it ({record.name})"


def _router_differences(folder: Path, facts: Mapping[str, Any], results: Results) -> Iterator[str]:
    path = folder / TENSORS
    try:
        tensors = read_tensors(path)
    except CheckpointError as error:
        yield str(error)
        return
    if tensors_hash(tensors) != facts["tensors"]:
        yield f"{path}: changed; {FACTS} beside it records other tensors"
    scored = (results.facts.get("hashes") or {}).get("router")
    used = tensors_hash({name: tensor.float() for name, tensor in tensors.items()})  # compressed: kept in half of that
    if scored is not None and scored != used:
        yield f"{path}: not the router that {results.folder / METRICS_FILE} was measured with"


def mean_differences(results: Results) -> Iterator[str]:
    """Name every mean of a rendering, in metrics.json and mean_metrics.json, that its frames contradict."""
    path, frames = results.folder / METRICS_FILE, results.per_frame
    for method in dict.fromkeys(method for frame in frames for method in frame["scores"]):
        if method not in results.facts["means"]:
            yield f"{path}: means, {_title(method)} is missing, the frames have its scores"
    for method, recorded in results.means.items():
        computed_means = _means_of(frames, method)
        for name, mean in recorded.items():
            computed = computed_means[name]
            if not _close(mean, computed):
                yield f"{path}: means, {_title(method)} {METRICS[name].label} is {mean}, the frames give {computed}"
    for expert, recorded_gate in (results.facts.get("mean_gates") or {}).items():
        gates = [number(frame["gates"].get(expert)) for frame in frames]
        computed = statistics.fmean(gate for gate in gates if gate is not None) if None not in gates else None
        if not _close(number(recorded_gate), computed):
            yield f"{path}: mean_gates, {expert} is {recorded_gate}, the frames give {computed}"
    for file in _upstream_files(results):
        yield from _upstream_differences(file, frames)


def _means_of(frames: Sequence[Mapping[str, Any]], method: str) -> Scores:
    return mean_scores([scores_of(frame["scores"].get(method, {})) for frame in frames])


def _upstream_files(results: Results) -> Iterator[Path]:
    """The rendering's mean_metrics.json, and the run's unless that is the copy of another iteration's."""
    own, of_run = results.folder / UPSTREAM_FILE, results.folder.parents[1] / UPSTREAM_FILE
    if own.is_file():
        yield own
    others = (path for path in results.folder.parent.glob(f"itrs_*/{UPSTREAM_FILE}") if path != own)
    is_of_test = results.folder.parent.name == "test"
    if is_of_test and of_run.is_file() and of_run.read_bytes() not in [path.read_bytes() for path in others]:
        yield of_run


def _upstream_differences(path: Path, frames: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    means, seconds = _means_of(frames, MIXTURE), [number(frame.get("seconds")) for frame in frames]
    computed = {f"MoE-GS_{metric.label}": means[metric.name] for metric in METRICS.values()}
    known = [value for value in seconds if value is not None]
    if len(known) == len(frames):
        computed |= dict.fromkeys(("MoE-GS_times", "seconds_per_frame"), mean_seconds(known))
    for name, recorded in read_object(path).items():
        if name in computed and not _close(number(recorded), computed[name]):
            yield f"{path}: {name} is {recorded}, the frames give {computed[name]}"


def unrecorded_metrics(results: Results) -> list[str]:
    """Labels of the protocol's metrics that are newer than the results: no frame has their key."""
    protocol = PROTOCOLS.get(str(results.facts["protocol"].get("name")))
    extras = () if protocol is None else protocol.extras
    known = {name for frame in results.per_frame for scores in frame["scores"].values() for name in scores}
    of_protocol = [metric for metric in METRICS.values() if not metric.of_protocol or metric.name in extras]
    return [metric.label for metric in of_protocol if metric.name not in known]


def compared_metrics(results: Results) -> set[str]:
    """Names of the metrics that the results recorded: one that may be absent has a value in some frame."""
    scores = [scores for frame in results.per_frame for scores in frame["scores"].values()]
    known = {name for each in scores for name in each} & METRICS.keys()
    measured = {name for name in known if any(each.get(name) is not None for each in scores)}
    return measured | {name for name in known if not (METRICS[name].optional or METRICS[name].needs_network)}


def _close(recorded: float | None, computed: float | None) -> bool:
    if recorded is None or computed is None:
        return recorded is computed
    return recorded == computed or abs(recorded - computed) <= ROUNDING or math.isnan(recorded + computed)


def score_differences(
    entry: Mapping[str, Any], scores: Mapping[str, Scores], *, names: Collection[str], file: Path, rule: Agreement
) -> Iterator[str]:
    """Name every score of a frame in a metrics.json that is not the one just measured. names: the metrics to compare.

    Baselines that need an expert's other training are passed over.
    """
    for method, recorded in entry["scores"].items():
        if method.endswith(TWICE):
            continue
        for name, value in scores_of(recorded).items():
            measured = scores.get(method, {}).get(name)
            if name in names and not rule.scores(name, value, measured):
                metric = METRICS[name]
                yield (
                    f"{file}: {entry['camera']}, frame {entry['frame']}, {_title(method)} {metric.label} is "
                    f"{value_text(metric, value)}, rendered again {value_text(metric, measured)}"
                )


def png_differences(
    folder: Path, name: str, mixture: Mixture, *, experts: tuple[str, ...], truth: np.ndarray, rule: Agreement
) -> Iterator[str]:
    """Name every saved PNG of a frame that does not show what was just rendered; folders without PNGs are passed over.

    name: of the files, such as "cam00_00012".
    """
    for kind, image in _saved_images(mixture, experts, truth):
        path = folder / kind / f"{name}.png"
        if not path.parent.is_dir():
            continue
        if not path.is_file():
            yield f"{path}: missing"
            continue
        try:
            with Image.open(path) as opened:
                recorded = np.asarray(opened)
        except Exception as error:  # decoders raise anything on damaged bytes
            yield f"{path}: damaged ({error})"
            continue
        agree = Agreement(same_device=True) if kind == "gt" else rule
        if not agree.images(recorded, image):
            yield f"{path}: changed; it does not show what the run renders"


def _saved_images(mixture: Mixture, experts: tuple[str, ...], truth: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name of the PNG folder, image."""
    yield "renders", to_uint8(mixture.image)
    yield "gt", truth
    for expert, image, gate in zip(experts, mixture.images, mixture.gates, strict=True):
        yield f"renders_{expert}", to_uint8(image)
        yield f"weights_{expert}", to_uint8(gate)


def frame_name(entry: Mapping[str, Any]) -> str:
    """Name of a frame's image files, by its entry in a metrics.json."""
    return image_name(str(entry["camera"]), int(entry["frame"]))


def _title(method: str) -> str:
    return TITLES.get(method, method)
