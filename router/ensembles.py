"""The ensembles: subsets of the experts that are blended, one row each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from experts import EXPERTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Experts in softmax order, the data set's layout they are for, and when upstream's script tests and saves.

    An expert goes by its name in EXPERTS, a second one of the same kind by that name with a number: "STG-2".
    """

    name: str
    layout: str | None  # name of a row of scenes.layouts.LAYOUTS; None: what the scene looks like
    experts: tuple[str, ...]
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
        Ensemble(  # not of the paper, which has no FreeTime
            name="E5",
            layout="n3v",
            experts=("Ex4DGS", "E-D3DGS", "STG", "4DGaussians", "FreeTime"),
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


def ensemble_of(kinds: Sequence[str]) -> Ensemble:
    """An ensemble of any experts, names in EXPERTS, in softmax order."""
    before: Counter[str] = Counter()
    experts = []
    for kind in kinds:
        before[kind] += 1
        experts.append(kind if before[kind] == 1 else f"{kind}-{before[kind]}")
    return Ensemble(name="+".join(experts), layout=None, experts=tuple(experts))


def kind_of(expert: str) -> str:
    """Name in EXPERTS of an ensemble's expert: "STG" of "STG-2"."""
    return expert if expert in EXPERTS else re.sub(r"-\d+$", "", expert)


def is_published(ensemble: Ensemble) -> bool:
    """True where an ensemble is a row of the table, with scripts of its own."""
    return ENSEMBLES.get(ensemble.name) == ensemble


def folder_flags(ensemble: Ensemble) -> dict[str, str]:
    """The flag of each expert's folder, without dashes, by expert in softmax order; of published ensembles alone."""
    return {name: EXPERTS[name].flag for name in ensemble.experts} if is_published(ensemble) else {}


def render_command(ensemble: Ensemble) -> str:
    """The command that renders runs of an ensemble, without its arguments."""
    return f"render_{ensemble.name}.py" if is_published(ensemble) else "moegs.py render"


def ensembles_with(expert: str) -> list[str]:
    """Names of the published ensembles that an expert is in."""
    return [ensemble.name for ensemble in ENSEMBLES.values() if expert in ensemble.experts]
