"""Time of what a deforming expert's networks take of a training step: python -m benchmarks.network_step."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor

from benchmarks.trained_scenes import trained_like_scene
from common.text.tables import Column, table_lines
from experts import EXPERTS
from experts.base import Expert, Precision
from experts.canonical.precision import networks_in

NAMES = ("E-D3DGS", "4DGaussians")
FRAME = 7
COLUMNS = (
    Column(heading="expert", gap=0, left=True),
    *(Column(heading=heading, gap=2) for heading in ("networks in", "shown", "ms, median", "least to most")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStepConfig:
    """Random models of the published N3V sizes."""

    device: Annotated[Literal["cpu", "cuda"], tyro.conf.arg(help="where to compute")] = "cuda"
    gaussians: Annotated[int, tyro.conf.arg(help="Gaussians of each expert")] = 150_000
    shown: Annotated[float, tyro.conf.arg(help="share of them that the image shows: others have no gradients")] = 0.3
    repeats: Annotated[int, tyro.conf.arg(help="steps to time, after three others")] = 15


def main(arguments: Sequence[str]) -> int:
    """Prints milliseconds of the Gaussians of a frame and of the gradients, where all and where some are shown."""
    config = tyro.cli(NetworkStepConfig, args=list(arguments), prog="python -m benchmarks.network_step")
    print(*table_lines(COLUMNS, list(measured(config))), sep="\n")
    return 0


def measured(config: NetworkStepConfig) -> Iterator[tuple[str, ...]]:
    """A row for each expert, precision and share. On a CPU the time is the process's, and TF32 is float32."""
    precisions: tuple[Precision, ...] = ("float32", "tf32") if config.device == "cuda" else ("float32",)
    for name in NAMES:
        torch.manual_seed(0)
        given, _ = trained_like_scene(count=config.gaussians, width=1352, height=1014, seed=1)
        expert = EXPERTS[name].random_model(given)
        assert isinstance(expert, torch.nn.Module)
        expert.to(config.device)
        for precision in precisions:
            for share in (1.0, config.shown):
                seconds = [_step(expert, precision, share) for _ in range(3 + config.repeats)][3:]
                least, most = 1e3 * min(seconds), 1e3 * max(seconds)
                yield name, precision, f"{share:.0%}", f"{1e3 * median(seconds):.2f}", f"{least:.2f}-{most:.2f}"


def _step(expert: Expert, precision: Precision, share: float) -> float:
    """Seconds of a frame's Gaussians and of their gradients."""
    assert isinstance(expert, torch.nn.Module)
    expert.zero_grad()
    begin = _now(expert)
    with networks_in(precision):
        gaussians = expert.at(FRAME, camera=0)
    tensors = (gaussians.means, gaussians.opacities, gaussians.scales, gaussians.quats, gaussians.sh)
    values = [tensor for tensor in tensors if tensor is not None]
    torch.autograd.backward(values, [_weights(value, share) for value in values])
    return _now(expert) - begin


def _weights(values: Tensor, share: float) -> Tensor:
    """A gradient of 1 in the rows that are shown, the first ones of every ten."""
    weights = torch.ones_like(values)
    rows = torch.arange(len(values), device=values.device)
    weights[rows % 10 >= round(10 * share)] = 0
    return weights


def _now(expert: torch.nn.Module) -> float:
    """Seconds: of a CPU those of this process, of a GPU once it is done."""
    if next(expert.parameters()).device.type == "cpu":
        return process_time()
    torch.cuda.synchronize()
    return perf_counter()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
