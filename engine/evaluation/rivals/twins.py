"""The same expert trained twice, both images averaged: a baseline without differing experts.

Averaging any two trainings removes some of their noise. A mixture is worth its experts' differences only as far as it
is above this baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.disk.files import files_hash
from engine.errors import ConfigError
from engine.evaluation.mixture_results import TWICE
from engine.runs.experts.images import colour_of, splat_of
from engine.runs.experts.loading import open_expert
from engine.runs.run import Run
from engine.runs.saved.loading import trained_config
from engine.settings.parsing.fields import with_values
from engine.settings.training.experts import folder_argument, folders_by_name
from experts import EXPERTS, Expert
from experts.recognition import model_folder
from router import Mixture
from router.novel_views import little_covered, on_hole_colour
from scenes import ViewFrame

FLAG = "--twin"


def open_twins(run: Run, save_path: Path, given: Sequence[str], overrides: Mapping[str, Any]) -> dict[str, Expert]:
    """The second trainings of experts, NAME=PATH each, by the expert's name.

    overrides: with which the run was opened; where decoded frames are kept holds for twins, too. Raises ConfigError
    where NAME is no expert of the run, or where the folder holds the expert itself.
    """
    experts = {expert.name: expert for expert in run.experts}
    cache = {name: overrides[name] for name in ("cache_path", "cache_gb") if overrides.get(name) is not None}
    config = with_values(trained_config(save_path, layout=run.scene.layout), cache)
    twins = {}
    for name, path in folders_by_name(given, list(experts), flag=FLAG).items():
        folder = model_folder(path, None, experts=EXPERTS.values())
        twin = open_expert(config, run.scene, name, folder, device=run.device, by_name=True, flag=FLAG)
        if files_hash(twin.provenance.files) == files_hash(experts[name].provenance.files):
            label = folder_argument(name, path, by_name=True, flag=FLAG)
            raise ConfigError(f"{label}: these are the files of {name} in the run; give another training of it")
        twins[name] = twin
    return twins


@torch.no_grad()
def twin_images(run: Run, twins: Mapping[str, Expert], view_frame: ViewFrame, mixture: Mixture) -> dict[str, Tensor]:
    """The mean of an expert's image and its twin's, by the baseline's name. mixture: of the run at that image."""
    own = {expert.name: image for expert, image in zip(run.experts, mixture.images, strict=True)}
    return {name + TWICE: (own[name] + _shown(run, twin, view_frame, mixture)) / 2 for name, twin in twins.items()}


def _shown(run: Run, twin: Expert, view_frame: ViewFrame, mixture: Mixture) -> Tensor:
    """A twin's image [3, h, w] under the rules by which its expert is shown."""
    view, frame = view_frame
    shown, trained = run.scene.views[view], view in run.scene.train
    number, culling = shown.number if trained else None, run.novel.culling
    splat = splat_of(
        twin, shown.camera, frame, compute=run.compute, camera_number=number, culling=culling, tile_rule=run.tile_rule
    )
    image = colour_of(twin, splat, shown.camera, frame)
    if trained or run.novel.hole_colour is None:
        return image
    assert mixture.alphas is not None, "those of rendered experts"
    hole = little_covered(mixture.alphas, run.novel.usual_coverage)
    return on_hole_colour(image[None], splat.alpha[None], [twin], run.novel.hole_colour, hole=hole)[0]


def twin_facts(twins: Mapping[str, Expert]) -> dict[str, object]:
    """The baselines in words, and the hashes of their files, for metrics.json."""
    return {
        name + TWICE: {
            "what": f"mean of the images of {name} and of another training of it",
            "files": files_hash(twin.provenance.files),
        }
        for name, twin in twins.items()
    }
