"""The experts: pretrained dynamic Gaussian models, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from common.suggestions import nearest
from experts.base import CheckpointError, Expert, LoadOptions, Provenance
from experts.ed3dgs.files import load_ed3dgs, read_ed3dgs_routing, save_ed3dgs
from experts.ex4dgs.files import load_ex4dgs, read_ex4dgs_routing, save_ex4dgs
from experts.fourdgaussians.files import load_fourdgaussians, read_fourdgaussians_routing, save_fourdgaussians
from experts.stg.files import load_stg, read_stg_routing, save_stg
from experts.stg.segments import is_segmented

__all__ = ["EXPERTS", "CheckpointError", "Expert", "ExpertSpec", "LoadOptions", "Provenance", "load_expert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSpec:
    """What the project knows of an expert before one is loaded."""

    name: str
    flag: str  # the command-line flag of its folder, without dashes
    load: Callable[[Path, LoadOptions], Expert]
    save: Callable[..., None]  # (expert, folder, iteration, *, routing: Tensor [n, 3] | None = None)
    read_routing: Callable[[Path, int | None], Tensor | None]  # weights that MoE-GS saved with it, [n, 3]
    paper: str
    licence: str  # of the original's code, which its checkpoints come from; users' checkpoints stay under these terms


EXPERTS: dict[str, ExpertSpec] = {
    spec.name: spec
    for spec in (
        ExpertSpec(
            name="Ex4DGS",
            flag="model_path",
            load=load_ex4dgs,
            save=save_ex4dgs,
            read_routing=read_ex4dgs_routing,
            paper="Fully Explicit Dynamic Gaussian Splatting, NeurIPS 2024",
            licence="CC BY-NC 4.0",
        ),
        ExpertSpec(
            name="E-D3DGS",
            flag="emb_path",
            load=load_ed3dgs,
            save=save_ed3dgs,
            read_routing=read_ed3dgs_routing,
            paper="Per-Gaussian Embedding-Based Deformation for Deformable 3D Gaussian Splatting, ECCV 2024",
            licence="Gaussian-Splatting licence (non-commercial)",
        ),
        ExpertSpec(
            name="STG",
            flag="stg_path",
            load=load_stg,
            save=save_stg,
            read_routing=read_stg_routing,
            paper="Spacetime Gaussian Feature Splatting for Real-Time Dynamic View Synthesis, CVPR 2024",
            licence="MIT; its rasterizers derive from Inria's: Gaussian-Splatting licence (non-commercial)",
        ),
        ExpertSpec(
            name="4DGaussians",
            flag="fgaussian_path",
            load=load_fourdgaussians,
            save=save_fourdgaussians,
            read_routing=read_fourdgaussians_routing,
            paper="4D Gaussian Splatting for Real-Time Dynamic Scene Rendering, CVPR 2024",
            licence="Apache text in LICENSE.md; its rasterizer derives from Inria's (non-commercial)",
        ),
    )
}


def load_expert(name: str, path: Path, options: LoadOptions) -> Expert:
    """Load an expert by its name in EXPERTS; raises CheckpointError for an unknown name and for unusable files."""
    if name not in EXPERTS:
        close = nearest(name, EXPERTS, likeness=0.3)
        hint = f"nearest: {close}" if close else f"known: {', '.join(EXPERTS)}"
        raise CheckpointError(f"no expert is called {name!r}; {hint}")
    if name != "STG" and is_segmented(path):
        raise CheckpointError(f"{path}: looks like STG (a folder of segments), {name} expected; give it to --stg_path")
    return EXPERTS[name].load(path, options)
