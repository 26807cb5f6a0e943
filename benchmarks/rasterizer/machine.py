"""Facts about the GPU to print beside its times, and the rates that the estimate divides by."""

from __future__ import annotations

import subprocess

import torch
from moegs_rasterizer.types import RasterizerError

from benchmarks.rasterizer.measurement import Work, measure
from benchmarks.rasterizer.roofline import Machine

SCHEDULERS = 4  # of a multiprocessor, each issuing one warp's instruction a clock
COPY_BYTES, COPY_RUNS = 2**29, 20


def describe(device: torch.device) -> str:
    """GPU, its clock, driver, CUDA and PyTorch in one line."""
    if device.type != "cuda":
        return f"{device.type}, PyTorch {torch.__version__}"
    try:
        facts = "at most {1} MHz, driver {0}".format(*_query(device, "driver_version", "clocks.max.sm"))
    except RasterizerError as error:
        facts = str(error)
    name = torch.cuda.get_device_name(device)
    return f"{name}, {facts}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}"


def machine_of(device: torch.device) -> Machine:
    """Measured copy bandwidth, and the issue rate at the GPU's highest clock.

    Raises RasterizerError where nvidia-smi does not tell the clock.
    """
    (clock,) = _query(device, "clocks.max.sm")
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return Machine(
        bytes_per_second=measure_copy(device, size=COPY_BYTES),
        warp_instructions_per_second=processors * SCHEDULERS * float(clock) * 1e6,
    )


def measure_copy(device: torch.device, *, size: int) -> float:
    """Bytes per second that a copy of `size` bytes reads and writes together, the best of some runs."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    whole, _ = measure(Work(forward=lambda _: target.copy_(source)), device, sets=1, repeats=COPY_RUNS)
    return 2 * size / (whole.queued.least / 1000)


def _query(device: torch.device, *names: str) -> list[str]:
    """Values that nvidia-smi gives for this GPU, without units."""
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    command = ["nvidia-smi", f"--id={uuid}", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RasterizerError(
            f"nvidia-smi did not tell {', '.join(names)} of {uuid}: {error}; it comes with the driver, put it on PATH"
        ) from error
    return [value.strip() for value in answer.strip().split(",")]
