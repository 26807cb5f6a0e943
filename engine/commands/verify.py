"""Check that a run's results belong to its files and can be measured again: python moegs.py verify SAVE_PATH."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from common.text.progress import tracked
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.conditions import versions
from engine.evaluation.measures.metric_types import MetricRequest
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.suite import open_suite
from engine.evaluation.mixture import hashed_images, render_frame, scored_images
from engine.evaluation.provenance import RULE, ImageHashes
from engine.evaluation.rivals.baselines import CONSTANT, ConstantWeights
from engine.evaluation.rivals.oracles import ORACLES
from engine.evaluation.scoring import evenly_spread, scored_frames
from engine.outputs.frame_images import frame_images
from engine.reporting.comparison import (
    OTHER_DEVICE,
    OTHER_DEVICE_ELSE,
    Agreement,
    checkpoint_differences,
    compared_metrics,
    frame_name,
    mean_differences,
    png_differences,
    score_differences,
    unrecorded_metrics,
)
from engine.reporting.opening import run_of_results
from engine.reporting.results import METRICS_FILE, Results, read_results
from engine.runs.device import device_name
from engine.runs.run import Run
from engine.settings.parsing.command_line import set_up_logging
from engine.settings.rendering.metric_protocols import EXTRA_METRICS, OF_CLIPS, PROTOCOLS
from engine.settings.results.verify import (
    CPU_FRAMES,
    VerifyConfig,
    check_verify_config,
    overrides_of,
    read_verify_settings,
)
from engine.settings.training.experts import folders_by_name
from scenes import ViewFrame

logger = logging.getLogger(__name__)

DIFFERS = 1  # exit code where something is not as it was recorded
MOST_NAMED = 40  # differences that are printed


def command(argv: Sequence[str], *, prog: str, description: str) -> int:
    """Compares, prints every difference; the exit code: 0 all agree, DIFFERS."""
    config = read_verify_settings(argv, prog=prog, description=description)
    set_up_logging(quiet=config.quiet, debug=config.debug)
    save_path = check_verify_config(config)
    results = read_results(
        save_path, split=config.split, iteration=None if config.iteration == -1 else config.iteration
    )
    differences = list(mean_differences(results))
    moved = folders_by_name(config.overrides.expert, results.experts)
    of_files = list(checkpoint_differences(save_path, results, moved=moved))
    differences += of_files
    if of_files:
        checked = "nothing was rendered again, because the run's files changed"
    elif config.frames == 0:
        checked = "nothing was rendered again (--frames 0)"
    else:
        found, checked = render_again(config, results)
        differences += found
    print(*differences[:MOST_NAMED], sep="\n", end="\n" if differences else "")
    if len(differences) > MOST_NAMED:
        print(f"and {len(differences) - MOST_NAMED} more")
    print(f"{results.folder / METRICS_FILE}: {checked}")
    unrecorded = unrecorded_metrics(results)
    note = f"; not recorded, so not compared: {', '.join(unrecorded)}" if unrecorded else ""
    print((counted(len(differences), "difference") if differences else "all agree") + note)
    return DIFFERS if differences else 0


def render_again(config: VerifyConfig, results: Results) -> tuple[list[str], str]:
    """Render frames of the results again; give what differs, and a line on what was compared by which rule."""
    assert config.save_path is not None, "required"
    run = run_of_results(config.save_path, results, overrides_of(config))
    wanted = config.frames
    if wanted is None and run.device.type == "cpu":
        wanted = CPU_FRAMES
    chosen = [results.per_frame[index] for index in evenly_spread(len(results.per_frame), wanted)]
    rule = Agreement(same_device=_same_device(run, results) and config.overrides.backend is None)
    comparison = _Comparison(run=run, results=results, rule=rule, config=config)
    return list(comparison.differences(chosen)), _checked(len(chosen), len(results.per_frame), rule)


def _same_device(run: Run, results: Results) -> bool:
    """True where device and versions are those of the results, so that the images have the same bits."""
    here = (device_name(run.device), versions(run.device))
    return here == (results.facts.get("device"), results.facts.get("versions"))


def _checked(chosen: int, total: int, rule: Agreement) -> str:
    if rule.same_device:
        how = "on the same device and versions, so every printed digit is to be the same"
    else:
        near = f"{OTHER_DEVICE['psnr']} dB, and {OTHER_DEVICE_ELSE} of SSIM and LPIPS"
        how = f"on another device or version, so within {near}"
    return f"{chosen} of {counted(total, 'frame')} rendered again {how}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """A run rendered again beside the results that were recorded of it."""

    run: Run
    results: Results
    rule: Agreement
    config: VerifyConfig

    def differences(self, entries: Sequence[Any]) -> Iterator[str]:
        """The differences of some frames of the results, in score, in saved images and, with all frames, in hash."""
        run, folder = self.run, self.results.folder
        numbers = {view.name: index for index, view in enumerate(run.scene.views)}
        view_frames: list[ViewFrame] = [(numbers[entry["camera"]], int(entry["frame"])) for entry in entries]
        run.scene.frames.prepare(sorted({view for view, _ in view_frames}))
        names = tuple(expert.name for expert in run.experts)
        constants, suite = self._constants(), self._suite(view_frames)
        with_oracles = suite if set(ORACLES) & set(self.results.means) else None
        followers = _followers(entries) & _followers(self.results.per_frame)
        metrics = compared_metrics(self.results) - set(OF_CLIPS)
        without_change = metrics - suite.names_of("change")
        is_whole = len(entries) == len(self.results.per_frame)
        compared = scored_frames(
            run.scene,
            tracked(view_frames, "Rendering again", unit="frame", shown=not self.config.quiet, leave=False),
            render=lambda view_frame: render_frame(run, view_frame),
            images_of=lambda _, mixture, truth: scored_images(
                run, mixture, truth, constants=constants, suite=with_oracles
            ),
            suite=suite,
            device=run.device,
        )
        with ImageHashes() as hashes:
            for entry, scored in zip(entries, compared, strict=True):
                hashes.add(hashed_images(run, frame_images(scored.rendering, mean=True)), scored.truth)
                compared_here = metrics if (entry["camera"], entry["frame"]) in followers else without_change
                yield from score_differences(
                    entry, scored.scores, names=compared_here, file=folder / METRICS_FILE, rule=self.rule
                )
                name = frame_name(entry)
                yield from png_differences(
                    folder, name, scored.rendering, experts=names, truth=scored.truth, rule=self.rule
                )
        if is_whole:
            yield from self._hash_differences(hashes)

    def _constants(self) -> ConstantWeights | None:
        recorded = (self.results.facts.get("baselines") or {}).get(CONSTANT)
        if recorded is None:
            return None
        weights = tuple(float(recorded["weights"][expert.name]) for expert in self.run.experts)
        return ConstantWeights(weights=weights, fitted_on=(), evaluated=0)

    def _suite(self, view_frames: Sequence[ViewFrame]) -> Any:
        name = self.results.facts["protocol"]["name"]
        if name not in PROTOCOLS:
            raise ConfigError(f"{self.results.folder / METRICS_FILE}: protocol {name!r} is unknown; render it again")
        networks = [metric.name for metric in METRICS.values() if metric.needs_network or metric.optional]
        means = self.results.means.values()
        recorded = {each for each in networks if any(scores[each] is not None for scores in means)}
        request = MetricRequest(
            protocol=PROTOCOLS[name],
            cameras=[self.run.scene.views[view].camera for view in dict.fromkeys(view for view, _ in view_frames)],
            device=self.run.device,
            lpips_weights=self.config.lpips_weights,
            asked=[name for name in EXTRA_METRICS if name not in OF_CLIPS and name in recorded],
        )
        suite = open_suite(request, networks=bool(recorded))
        missing = [each for each in networks if each in suite.unavailable and each in recorded]
        if missing:
            reasons = "; ".join(f"{METRICS[each].label}: {suite.unavailable[each]}" for each in missing)
            raise ConfigError(
                f"{self.results.folder / METRICS_FILE} has scores that cannot be measured here: {reasons}"
            )
        return suite

    def _hash_differences(self, hashes: ImageHashes) -> Iterator[str]:
        """Of the recorded frames on every device; of predictions where they are to have the same bits."""
        path, recorded = self.results.folder / METRICS_FILE, self.results.facts.get("hashes") or {}
        present = hashes.facts()
        if recorded.get(RULE) != present[RULE]:
            logger.info("%s: hashes of images are of an earlier version, which are not compared", path)
            return
        if recorded.get("truth", present["truth"]) != present["truth"]:
            yield f"{path}: hashes, truth is not that of the recorded frames of {self.run.scene.root}"
        if not self.rule.same_device:
            return
        for method, digest in (recorded.get("predictions") or {}).items():
            if present["predictions"].get(method) != digest:
                yield f"{path}: hashes, predictions of {method} are not those of the images rendered again"


def _followers(entries: Sequence[Mapping[str, Any]]) -> set[tuple[str, int]]:
    """Camera and frame of the entries that come right after the frame before: metrics of a change need both."""
    frames = [(str(entry["camera"]), int(entry["frame"])) for entry in entries]
    return {second for first, second in pairwise(frames) if second == (first[0], first[1] + 1)}
