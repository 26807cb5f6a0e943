"""The ensembles: subsets of the experts that are blended, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from experts import EXPERTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Experts in softmax order, the data set's layout they are for, and when upstream's script tests and saves."""

    name: str
    layout: str  # name of a row of scenes.layouts.LAYOUTS
    experts: tuple[str, ...]  # names in EXPERTS
    test_iterations: tuple[int, ...] = ()  # the last iteration is added to each
    save_iterations: tuple[int, ...] = ()


ENSEMBLES = {
    ensemble.name: ensemble
    for ensemble in (
        Ensemble(
            name="E4",
            layout="n3v",
            experts=("Ex4DGS", "E-D3DGS", "STG", "4DGaussians"),
            test_iterations=(500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 15000, 20000),
            save_iterations=(500, 1000, 2000, 3000, 4000, 5000),
        ),
        Ensemble(
            name="E3",
            layout="n3v",
            experts=("Ex4DGS", "E-D3DGS", "4DGaussians"),
            test_iterations=(500, 2000, 5000, 6000, 7000, 8000, 9000, 10000, 15000, 20000),
            save_iterations=(500, 2000, 5000),
        ),
        Ensemble(
            name="E3_tech",
            layout="technicolor",
            experts=("Ex4DGS", "E-D3DGS", "STG"),
            test_iterations=(2000, 5000, 6000, 7000, 8000, 9000, 10000, 15000, 20000),
            save_iterations=(2000, 5000),
        ),
    )
}


def folder_flags(ensemble: Ensemble) -> dict[str, str]:
    """The flag of each expert's folder, without dashes, by the expert's name in softmax order."""
    return {name: EXPERTS[name].flag for name in ensemble.experts}


def ensembles_with(expert: str) -> list[str]:
    """Names of the ensembles that an expert is in."""
    return [ensemble.name for ensemble in ENSEMBLES.values() if expert in ensemble.experts]
