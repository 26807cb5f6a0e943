"""Which experts are blended on which data set; any other subset is one more row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Experts in softmax order, each with the flag that gives its folder, and the data set layout they are for."""

    name: str
    layout: str  # name of a row of scenes.layouts.LAYOUTS
    experts: tuple[tuple[str, str], ...]  # (expert name, flag without dashes)


ENSEMBLES = {
    ensemble.name: ensemble
    for ensemble in (
        Ensemble(
            name="E4",
            layout="n3v",
            experts=(
                ("Ex4DGS", "model_path"),
                ("E-D3DGS", "emb_path"),
                ("STG", "stg_path"),
                ("4DGaussians", "fgaussian_path"),
            ),
        ),
        Ensemble(
            name="E3",
            layout="n3v",
            experts=(("Ex4DGS", "model_path"), ("E-D3DGS", "emb_path"), ("4DGaussians", "fgaussian_path")),
        ),
        Ensemble(
            name="E3_tech",
            layout="technicolor",
            experts=(("Ex4DGS", "model_path"), ("E-D3DGS", "emb_path"), ("STG", "stg_path")),
        ),
    )
}
