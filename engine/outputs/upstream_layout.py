"""The folder of a trained run as the paper's own code lays it out.

<folder>/cfg_args                                         settings
<folder>/<Expert>/point_cloud/iteration_N/…               the expert's files, the router's weights as PLY columns
<folder>/Ex4DGS/point_cloud/iteration_N/point_cloud.pt    the router's head
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.disk.files import replacing_folder
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.settings.parsing.paths import check_empty
from experts import EXPERTS, CheckpointError
from experts.formats.cfg_args import read_cfg_args, write_cfg_args
from experts.formats.torch_files import load_state_dict, save_tensors
from experts.windows.model import WindowedExpert
from router import ENSEMBLES, Ensemble, Router, ensemble_of, kind_of, new_head
from router.heads import HeadKind

HEAD_OWNER = "Ex4DGS"  # in whose folder upstream keeps the head
NO_OWNER = "router"  # its place where that expert is not in the ensemble
HEAD_FILE = "point_cloud.pt"
ORDER = "experts"  # in cfg_args: their names in softmax order, which upstream's scripts know themselves


def write_upstream_layout(run: Run, folder: Path, settings: Mapping[str, object]) -> Path:
    """Writes a run whole or not at all; the folder must not exist, or be empty. Returns it.

    settings: for cfg_args, under upstream's names. Raises ConfigError where something is in the folder, ValueError for
    an expert that cannot carry the router's columns.
    """
    check_empty("--out", folder)
    if run.router.cues is not None:
        raise ValueError("the paper's code has no --cues, which this router was trained with; train one without")
    windowed = [expert.name for expert in run.experts if isinstance(expert, WindowedExpert)]
    if windowed:
        raise ValueError(f"the paper's code has no windows, of which {windowed[0]} is; export frames with --to")
    with replacing_folder(folder) as staged, torch.no_grad():
        for index, expert in enumerate(run.experts):
            spec = EXPERTS[kind_of(expert.name)]
            spec.write_routed(expert, staged / expert.name, run.iteration, routing_weights(run.router, index))
        state = {name: value.detach().cpu() for name, value in run.router.head.state_dict().items()}
        save_tensors(state, _head_file(staged, run.ensemble, run.iteration))
        write_cfg_args(staged, {**settings, ORDER: [expert.name for expert in run.experts]})
    return folder


def routing_weights(router: Router, index: int) -> Tensor:
    """An expert's table of routing weights [n, 3]: base, directional, temporal."""
    return torch.cat([router.features.static[index], router.features.temporal[index]], dim=1).detach().cpu()


def ensemble_in(folder: Path) -> Ensemble:
    """The ensemble whose experts lie in a folder.

    Their order is that of cfg_args, else a published ensemble's of just these experts, else the table's.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; give one that holds {', '.join(EXPERTS)} as MoE-GS saves them")
    present = sorted(path.name for path in folder.iterdir() if path.is_dir() and kind_of(path.name) in EXPERTS)
    if not present:
        raise ConfigError(f"{folder}: holds no expert's folder ({', '.join(EXPERTS)}); give the folder of a run")
    stored = (read_cfg_args(folder) or {}).get(ORDER)
    ordered = [str(name) for name in stored] if isinstance(stored, list) else []
    kinds = [kind_of(name) for name in (ordered if sorted(ordered) == present else _in_table_order(present))]
    published = (ensemble for ensemble in ENSEMBLES.values() if list(ensemble.experts) == kinds)
    return next(published, ensemble_of(kinds))


def _in_table_order(names: Sequence[str]) -> list[str]:
    published = (ensemble.experts for ensemble in ENSEMBLES.values() if sorted(ensemble.experts) == list(names))
    return list(next(published, sorted(names, key=lambda name: (list(EXPERTS).index(kind_of(name)), name))))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRouter:
    """A router's weights as read from a folder."""

    folder: Path
    tables: Mapping[str, Tensor]  # by expert: [n, 3] base, directional, temporal
    head: Mapping[str, Tensor]


def read_router(folder: Path, ensemble: Ensemble, iteration: int, *, kind: HeadKind) -> StoredRouter:
    """Reads the columns of all experts and the head; CheckpointError where one is missing or of another kind."""
    tables = {}
    for name in ensemble.experts:
        weights = EXPERTS[kind_of(name)].read_routed(folder / name, iteration)
        if weights is None:
            raise CheckpointError(f"{folder / name}: no columns of a router (w_b_0 …); was it saved by stage 2?")
        tables[name] = weights
    path = _head_file(folder, ensemble, iteration)
    head = load_state_dict(path)
    shapes, wanted = (
        {name: list(value.shape) for name, value in state.items()} for state in (head, new_head(kind).state_dict())
    )
    if shapes != wanted:
        raise CheckpointError(f"{path}: a head of {shapes}, {wanted} expected; give its --rgbfunction")
    return StoredRouter(folder=folder, tables=tables, head=head)


@torch.no_grad()
def fill_router(router: Router, stored: StoredRouter) -> None:
    """Gives a router stored weights; CheckpointError where an expert has another number of Gaussians."""
    for index, (name, weights) in enumerate(stored.tables.items()):
        static, temporal = router.features.static[index], router.features.temporal[index]
        if len(weights) != len(static):
            raise CheckpointError(
                f"{stored.folder / name}: routing weights of {len(weights)} of {len(static)} Gaussians; save them again"
            )
        static.copy_(weights[:, :2])
        temporal.copy_(weights[:, 2:])
    router.head.load_state_dict(stored.head)


def _head_file(folder: Path, ensemble: Ensemble, iteration: int) -> Path:
    owner = HEAD_OWNER if HEAD_OWNER in ensemble.experts else NO_OWNER
    return folder / owner / "point_cloud" / f"iteration_{iteration}" / HEAD_FILE
