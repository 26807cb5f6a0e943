"""The start of a command, tried in a process of its own: packages, the device, the rasterizer, its first kernels."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from time import perf_counter

import torch

from common.text.wording import ROOT
from engine.checks.rasterizer import check_rasterizer
from engine.runs.device import open_compute_device, wait
from engine.settings.training.run import DeviceConfig

_CODE = """
import sys
import engine.commands.train, engine.commands.train_expert
from engine.budget.start_up import device_seconds, late_seconds
print(device_seconds(*sys.argv[1:]), late_seconds())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """Seconds that a training takes beside its scene; other commands at most."""

    packages: float  # until it has imported them
    device: float  # until its device computes
    late: float  # of packages that the first training imports

    @property
    def seconds(self) -> float:
        """Of all."""
        return self.packages + self.device + self.late


def try_start_up(machine: DeviceConfig) -> StartUp:
    """Starts a command once, which ends as soon as it could begin with its work."""
    start = perf_counter()
    words = [sys.executable, "-c", _CODE, machine.device, machine.backend]
    ended = subprocess.run(words, cwd=ROOT, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    device, late = map(float, ended.stdout.split()[-2:])
    return StartUp(packages=perf_counter() - start - device - late, device=device, late=late)


def device_seconds(device: str, backend: str) -> float:
    """Seconds until a device computes and the rasterizer has passed its self-test, in a process that is new."""
    start = perf_counter()
    compute = open_compute_device(device, backend)  # type: ignore[arg-type]
    check_rasterizer(compute)
    square = torch.ones(64, 64, device=compute.device)
    torch.nn.functional.conv2d((square @ square)[None, None], square[None, None, :3, :3])  # loads their libraries
    wait(compute)
    return perf_counter() - start


def late_seconds() -> float:
    """Seconds of what a training imports at its start, in a process that is new: trials find it imported."""
    start = perf_counter()
    import scipy.spatial  # noqa: F401 - here: for the neighbours of start points

    torch.optim.Adam([torch.zeros(1)])  # the first optimiser imports PyTorch's compiler
    return perf_counter() - start
