"""The size that a run's files will have when it is written without some of its Gaussians."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from common.disk.faults import writing
from common.disk.leftovers import unfinished_folder
from common.text.units import MEGABYTE
from engine.compression.pruned import MOST, PruneScope, kept_masks, least_share
from engine.errors import ConfigError
from engine.runs.run import Run
from engine.runs.saved.checkpoint import TENSORS
from engine.runs.saved.router_tensors import named_tensors
from experts import EXPERTS
from experts.base import Expert
from experts.rows import HasRowModules, all_but_lowest, block_sizes, bytes_a_row, keep_rows
from experts.windows.saving import save_model
from router import kind_of

HEADER_BYTES = 1024  # by which files may grow beside their rows: headers name counts, cfg_args what was changed
ROUTING_BYTES = 12  # of a Gaussian's three routing weights
MISSED = 1.03  # size over the goal from which a user is told


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSizes:
    """Bytes of a run's files as `write_run` writes them: of each Gaussian, and of all else."""

    fixed: float
    rows: Mapping[str, tuple[float, ...]]  # of a Gaussian, by expert and block of its rows

    def megabytes(self, experts: Sequence[Expert], kept: Sequence[Tensor] | None = None) -> float:
        """10^6 bytes with all Gaussians, or with those of each expert for which a mask is True."""
        costs = [self._costs(expert) for expert in experts]
        if kept is not None:
            costs = [cost[mask.cpu()] for cost, mask in zip(costs, kept, strict=True)]
        return (self.fixed + sum(float(cost.sum()) for cost in costs)) / MEGABYTE

    def _costs(self, expert: Expert) -> Tensor:
        """Bytes [n] of each Gaussian of an expert."""
        assert isinstance(expert, HasRowModules)
        return torch.tensor(self.rows[expert.name], dtype=torch.float64).repeat_interleave(
            torch.tensor(block_sizes(expert))
        )


def written_sizes(run: Run, beside: Path) -> WrittenSizes:
    """The sizes by two copies of each expert, with all and with the least of its rows.

    The files that a run was loaded from do not tell them: they may be packed, or have other columns. The copies are
    made beside a path, and removed.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    fixed, rows = float(HEADER_BYTES), {}
    with unfinished_folder(beside.parent, of=beside) as scratch, writing(beside, SafetensorError):
        for number, expert in enumerate(run.experts):
            own, rows[expert.name] = _expert_sizes(expert, scratch / str(number))
            fixed += own
        save_file({name: tensor.cpu() for name, tensor in named_tensors(run.router).items()}, scratch / TENSORS)
        fixed += (scratch / TENSORS).stat().st_size - ROUTING_BYTES * sum(one.num_gaussians for one in run.experts)
    return WrittenSizes(fixed=fixed, rows=rows)


def _expert_sizes(expert: Expert, scratch: Path) -> tuple[float, tuple[float, ...]]:
    """Bytes of an expert's files beside its rows, and of a row in each block with its routing weights.

    A row takes what its tensors take, and as much more as the files differ by: columns that no tensor has.
    """
    assert isinstance(expert, HasRowModules)
    all_rows, blocks, own = expert.num_gaussians, block_sizes(expert), bytes_a_row(expert)
    least = deepcopy(expert)
    keep_rows(least, all_but_lowest(torch.zeros(all_rows), MOST, blocks))
    sizes = [_bytes_written(one, scratch / name) for one, name in ((expert, "all"), (least, "least"))]
    removed = [size - left for size, left in zip(blocks, block_sizes(least), strict=True)]
    more = 0.0
    if sum(removed):
        known = sum(cost * count for cost, count in zip(own, removed, strict=True))
        more = (sizes[0] - sizes[1] - known) / sum(removed)
    costs = tuple(cost + more for cost in own)
    fixed = sizes[0] - sum(cost * count for cost, count in zip(costs, blocks, strict=True))
    return fixed, tuple(cost + ROUTING_BYTES for cost in costs)


@torch.no_grad()
def _bytes_written(expert: Expert, folder: Path) -> int:
    save_model(EXPERTS[kind_of(expert.name)], expert, folder, expert.provenance.iteration)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def share_for_megabytes(
    run: Run, scores: Sequence[Tensor], wanted: float, scope: PruneScope, *, sizes: WrittenSizes
) -> float:
    """The smallest share whose removal makes a run's files this small, 10^6 bytes; ConfigError where none does.

    sizes: of the run before anything was removed.
    """

    def size(share: float) -> float:
        return sizes.megabytes(run.experts, kept_masks(run, scores, share, scope))

    if size(MOST) > wanted:
        least = math.ceil(10 * size(MOST)) / 10
        raise ConfigError(
            f"--megabytes is {wanted:g}: without {MOST:.0%} of its Gaussians the run would still have {least:g} MB; "
            "give that or more, and --compress for files that are smaller yet"
        )
    return least_share(lambda share: size(share) <= wanted)
