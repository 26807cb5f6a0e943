"""Result files of a run, found and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.evaluation.measures.metrics import METRICS
from engine.evaluation.measures.suite import Scores
from engine.evaluation.mixture_results import experts_among, table_order
from engine.outputs.files import results_folder
from engine.runs.saved.seeds import require_one_run, runs_of
from engine.settings.parsing.config_file import read_object

METRICS_FILE = "metrics.json"
UPSTREAM_FILE = "mean_metrics.json"
_RENDERED = re.compile(r"itrs_(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A rendering's folder and the content of its metrics.json."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def iteration(self) -> int:
        """The rendered iteration, by the folder's name."""
        return int(self.folder.name.removeprefix("itrs_"))

    @property
    def means(self) -> dict[str, Scores]:
        """Mean scores per method, in the order of every table."""
        return {method: scores_of(self.facts["means"][method]) for method in table_order(self.facts["means"])}

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts, in softmax order."""
        return experts_among(self.facts["means"])

    @property
    def per_frame(self) -> list[Mapping[str, Any]]:
        """The entry of every frame."""
        return list(self.facts["per_frame"])

    @property
    def cameras(self) -> frozenset[str]:
        """Names of the cameras that frames are of."""
        return frozenset(str(entry["camera"]) for entry in self.per_frame)


def read_results(save_path: Path, *, split: str = "test", iteration: int | None = None) -> Results:
    """Read a rendering's results, None the newest iteration's; ConfigError where there are none or they are damaged."""
    parent = results_folder(save_path, split, 0).parent
    rendered = {
        int(match[1]): path
        for path in parent.glob(f"itrs_*/{METRICS_FILE}")
        if (match := _RENDERED.fullmatch(path.parent.name))
    }
    if not rendered:
        require_one_run(save_path)
        raise ConfigError(f"{parent}: no {METRICS_FILE} in an itrs_<N> folder; render the run first")
    chosen = max(rendered) if iteration is None else iteration
    if chosen not in rendered:
        available = ", ".join(map(str, sorted(rendered)))
        raise ConfigError(f"{parent}: iteration {chosen} was not rendered; rendered: {available}")
    facts = read_object(rendered[chosen])
    missing = [key for key in ("means", "per_frame", "protocol", "experts") if not facts.get(key)]
    if missing:
        raise ConfigError(f"{rendered[chosen]}: no {', '.join(missing)} in it; render the run again")
    if not _is_whole(facts):
        raise ConfigError(f"{rendered[chosen]}: damaged; render the run again")
    return Results(folder=rendered[chosen].parent, facts=facts)


def results_of_seeds(save_path: Path, *, split: str = "test", iteration: int | None = None) -> list[Results]:
    """The results of every seed's run in a folder, or of the run that it is.

    ConfigError where one has none, and where seeds were rendered at different iterations.
    """
    results = [read_results(folder, split=split, iteration=iteration) for folder in runs_of(save_path)]
    if len({each.iteration for each in results}) > 1:
        named = ", ".join(f"{each.folder.parents[1].name} {each.iteration}" for each in results)
        raise ConfigError(f"{save_path}: its seeds were rendered at different iterations: {named}; render them alike")
    return results


def _is_whole(facts: Mapping[str, Any]) -> bool:
    """True where the parts that every reader needs are of the right kinds."""
    frames = facts["per_frame"]
    if not isinstance(frames, list) or not isinstance(facts["protocol"], dict) or not isinstance(facts["means"], dict):
        return False
    kinds = {"camera": str, "frame": int, "scores": dict, "gates": dict}
    whole = all(
        isinstance(frame, dict) and all(isinstance(frame.get(k), v) for k, v in kinds.items()) for frame in frames
    )
    return whole and all(isinstance(scores, dict) for scores in facts["means"].values())


def scores_of(values: Mapping[str, Any]) -> Scores:
    """Scores as a file holds them: infinite ones are text, and metrics that are newer than the file are None."""
    return {name: number(values.get(name)) for name in METRICS}


def number(value: Any) -> float | None:
    """A number as a file holds it: None stays None, "inf" is a number; None too for what is no number."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
