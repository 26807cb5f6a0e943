"""The experts: pretrained dynamic Gaussian models, one folder and one row each; docs/extending/expert.md adds one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.deferred import deferred
from common.disk.faults import reading
from common.text.suggestions import hint
from experts import ed3dgs, ex4dgs, fourdgaussians, freetime, splats, stg, videos
from experts.base import CheckpointError, Expert, LoadOptions, Provenance
from experts.recognition import require_own_files
from experts.spec import NOT_TRAINED, ExpertSpec, begin_training, name_fault
from experts.table import expert_table
from experts.windows.folders import windows_below

load_windowed = deferred("experts.windows.loading:load_windowed")

__all__ = [
    "EXPERTS",
    "SPLATTED",
    "TRAINABLE",
    "CheckpointError",
    "Expert",
    "ExpertSpec",
    "LoadOptions",
    "Provenance",
    "begin_training",
    "load_expert",
]

EXPERTS: dict[str, ExpertSpec] = expert_table(
    ex4dgs.SPEC,
    ed3dgs.SPEC,
    stg.SPEC,
    fourdgaussians.SPEC,
    freetime.SPEC,
    splats.SPEC,
    videos.SPEC,
)
SPLATTED = {name: spec for name, spec in EXPERTS.items() if not spec.pictures}
TRAINABLE = {name: spec for name, spec in EXPERTS.items() if spec.training is not NOT_TRAINED}


def load_expert(
    name: str, path: Path, options: LoadOptions, *, argument_of: Callable[[str], str] | None = None
) -> Expert:
    """Load an expert by its name in EXPERTS; raises CheckpointError for an unknown name and for unusable files.

    argument_of: what a user writes to give the folder of an expert of some name; None: its flag.
    """
    if name not in EXPERTS:
        raise CheckpointError(f"no expert is called {name!r}; {hint(name, EXPERTS, likeness=0.3)}")
    spec = EXPERTS[name]
    argument_of = argument_of or (lambda other: f"--{EXPERTS[other].flag}")
    with reading(
        path, f"not a readable model of {name}", CheckpointError, advice="get its files again from their source"
    ):
        require_own_files(spec, path, options.iteration, experts=EXPERTS.values(), argument_of=argument_of)
        windows = windows_below(path)
        if windows and (path / "point_cloud").exists():
            raise CheckpointError(f"{path}: holds both a model (point_cloud) and {windows[0].name}; split them")
        expert = load_windowed(spec, path, windows, options) if windows else spec.load(path, options)
    fault = name_fault(spec, expert, "the model that `load` returned")
    if fault is not None:
        raise CheckpointError(f"{path}: {fault}")
    return expert
