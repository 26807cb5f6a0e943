"""The device a run computes on: decided here alone, from --device, --backend and what this machine has."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from moegs_rasterizer.types import Backend

from common.text.units import MEBIBYTE
from common.text.wording import counted
from engine.errors import ConfigError
from engine.settings.training.run import DeviceChoice

logger = logging.getLogger(__name__)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
BACKENDS: dict[str, tuple[Backend, ...]] = {"cpu": ("auto", "cpu", "torch"), "cuda": ("auto", "cuda", "torch")}
CPUINFO = Path("/proc/cpuinfo")  # of Linux
CUBLAS_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # with which cuBLAS gives the same bits, before its first use
KEPT = 2  # memory that PyTorch may hold, in units of the most that tensors ever took at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeDevice:
    """A device, and the rasterizer's back-end on it."""

    device: torch.device
    backend: Backend  # "auto" on the CPU alone: C++ where it can be built, else PyTorch with a warning


def open_compute_device(device: DeviceChoice, backend: Backend, *, deterministic: bool = False) -> ComputeDevice:
    """Chooses and logs the device; on a GPU, sets arithmetic to full float32 and the same bits run after run.

    deterministic: for an operation that may give other bits, PyTorch raises a RuntimeError on the CPU, and warns on a
    GPU, where it says so of some that do repeat. device "auto": the GPU where its rasterizer runs, unless the back-end
    asked for is another's; a GPU that cannot be used is a warning that says why. Raises ConfigError where
    what was asked for does not go together or cannot run.
    """
    compute = choose_compute_device(device, backend)
    if compute.device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    if deterministic:
        os.environ.setdefault(*CUBLAS_WORKSPACE)
        torch.use_deterministic_algorithms(True, warn_only=compute.device.type == "cuda")
    logger.info("device: %s", device_facts(compute))
    return compute


def choose_compute_device(device: DeviceChoice, backend: Backend) -> ComputeDevice:
    """The decision of `open_compute_device`, without effect."""
    if device != "auto" and backend not in BACKENDS[device]:
        raise ConfigError(
            f"--backend {backend} does not run on --device {device}: leave out one of the two, or use --backend "
            f"{' or '.join(name for name in BACKENDS[device] if name != 'auto')}"
        )
    asked = "--device cuda" if device == "cuda" else "--backend cuda" if backend == "cuda" else None
    if asked is None and (device == "cpu" or backend != "auto" or not gpu_here()):
        return ComputeDevice(device=CPU, backend=backend)
    reason = _missing_gpu() if backend == "torch" else _unusable_gpu()
    if reason is None:
        return ComputeDevice(device=CUDA, backend="cuda" if backend == "auto" else backend)
    if asked is not None:
        raise ConfigError(f"{asked} cannot be used: {reason}; use --device cpu")
    logger.warning("cannot use the GPU, computing on the CPU: %s", reason)
    return ComputeDevice(device=CPU, backend=backend)


def gpu_here() -> bool:
    """True where this machine has a GPU, usable or not, that the environment does not hide."""
    if torch.cuda.is_available() or "CUDA_VISIBLE_DEVICES" in os.environ:
        return torch.cuda.is_available()
    return _driver_count() > 0


def gpu_names() -> tuple[str, ...]:
    """The names that CUDA_VISIBLE_DEVICES may have for this machine's GPUs: all numbers, then all UUIDs."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    numbers = re.findall(r"^GPU (\d+):", listed, re.MULTILINE)
    count = 0 if numbers else max(_driver_count(), torch.cuda.device_count())
    return (*(numbers or map(str, range(count))), *re.findall(r"UUID: ([^\s)]+)", listed))


def _missing_gpu() -> str | None:
    return None if torch.cuda.is_available() else "PyTorch finds no GPU (torch.cuda.is_available() is False)"


def _unusable_gpu() -> str | None:
    from moegs_rasterizer import cuda  # here, because asking may compile it

    return cuda.unavailable_reason()


def wait(compute: ComputeDevice) -> None:
    """Waits until a device has done what it was told; what is kept or shown of its images comes after this.

    Raises RasterizerError where the GPU found NaN, infinite or impossible values in an earlier call.
    """
    if compute.backend in ("cuda", "cuda-half"):
        from moegs_rasterizer import cuda

        cuda.check()
    elif compute.device.type == "cuda":
        torch.cuda.synchronize()


def device_name(device: torch.device) -> str:
    """The device's name, for logs and reports; a CPU's with the threads of PyTorch."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {counted(torch.get_num_threads(), 'thread')}"


def device_facts(compute: ComputeDevice) -> str:
    """Device and back-end for people: "CPU (AMD EPYC 7763, 2 threads), rasterizer back-end: cpu"."""
    kind = "GPU" if compute.device.type == "cuda" else "CPU"
    return f"{kind} ({device_name(compute.device)}), rasterizer back-end: {backend_name(compute)}"


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The CPU's model as Linux names it in /proc/cpuinfo, else the name of its architecture."""
    try:
        model = re.search(r"^model name\s*:\s*(\S.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()


def backend_name(compute: ComputeDevice) -> str:
    """The rasterizer's back-end that "auto" stands for."""
    if compute.backend != "auto":
        return compute.backend
    from moegs_rasterizer import cpu  # here, because asking may compile it

    return "torch" if cpu.unavailable_reason() else "cpu"


def gpu_versions(device: torch.device) -> dict[str, str]:
    """Versions of CUDA, as PyTorch was built with, and of the driver; none for the CPU."""
    if device.type != "cuda":
        return {}
    return {"cuda": str(torch.version.cuda), "cuda_driver": _driver_version()}


def _driver_version() -> str:
    text = ctypes.create_string_buffer(96)
    return text.value.decode() if _ask_driver("nvmlSystemGetDriverVersion", text, len(text)) else "unknown"


def _driver_count() -> int:
    count = ctypes.c_uint()
    return count.value if _ask_driver("nvmlDeviceGetCount_v2", ctypes.byref(count)) else 0


def _ask_driver(question: str, *arguments: Any) -> bool:
    """Calls a function of NVML, the driver's own library; whether it answered."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        return nvml.nvmlInit_v2() == 0 and getattr(nvml, question)(*arguments) == 0
    except (OSError, AttributeError):
        return False


def peak_memory(device: torch.device) -> int | None:
    """Most GPU memory that this process held in tensors at a time so far, MiB; None for the CPU."""
    return None if device.type != "cuda" else torch.cuda.max_memory_allocated(device) // MEBIBYTE


def free_memory(device: torch.device) -> int | None:
    """Bytes of GPU memory that this process holds or can get; None for the CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def spare_memory(device: torch.device) -> int | None:
    """Bytes of GPU memory that further tensors of this process can take; None for the CPU."""
    free = free_memory(device)
    return None if free is None else free - torch.cuda.memory_allocated(device)


def release_unused(device: torch.device) -> None:
    """Gives the GPU back what PyTorch keeps for reuse, once it holds more than KEPT times the tensors' peak.

    As the number of Gaussians grows, blocks of earlier tensors are too small for later ones and pile up.
    """
    if device.type == "cuda" and torch.cuda.memory_reserved(device) > KEPT * torch.cuda.max_memory_allocated(device):
        torch.cuda.empty_cache()
