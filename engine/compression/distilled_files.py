"""A distilled expert on disk: an ordinary model's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.disk.files import put_in_place, write_json
from common.disk.leftovers import unfinished_folder
from engine.compression.pruned_files import carry_facts
from engine.runs.experts.loading import open_expert
from engine.runs.run import Run
from engine.settings.training.run import RunConfig
from engine.training.expert.saves import ExpertOutput, compare
from experts import EXPERTS, Expert
from router import kind_of

FACTS = "distilled.json"


def write_distilled(run: Run, expert: Expert, out: Path, *, config: RunConfig, facts: Mapping[str, Any]) -> Expert:
    """Writes an expert whole or not at all, once what was written shows what the model in memory shows.

    config: the run's settings. facts: left as distilled.json. Returns the expert as it was read again, with its files
    where they are. Raises CheckpointError where it cannot be read, or shows something else.
    """
    out, iteration = out.resolve(), expert.provenance.iteration
    out.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(out.parent, of=out) as scratch:
        staged = scratch / out.name  # segments are named after the folder
        staged.mkdir()
        with torch.no_grad():
            EXPERTS[kind_of(expert.name)].save(expert, staged, iteration)
        written = open_expert(
            config, run.scene, expert.name, staged, device=run.device, iteration=iteration, by_name=True
        )
        compare(expert, written, ExpertOutput(folder=out, name=expert.name, scene=run.scene, compute=run.compute))
        carry_facts(expert, written, {"distilled": facts})
        write_json(staged / FACTS, facts)
        put_in_place({staged: out}, aside=scratch / "old")
    files = tuple(out / file.absolute().relative_to(staged) for file in written.provenance.files)
    written.provenance = replace(written.provenance, files=files)
    return written
