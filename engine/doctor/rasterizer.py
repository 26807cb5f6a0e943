"""PyTorch, GPUs, compilers, compiled libraries, and a rendering of each back-end against the oracle."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import torch
from moegs_rasterizer import RasterizerError, cpu, cuda
from moegs_rasterizer.compile.cuda_library import visible_architectures
from moegs_rasterizer.compile.inventory import Inventory, cpp_inventory, cuda_inventory, stale_folders
from moegs_rasterizer.compile.steps import cache_root, find_compiler
from moegs_rasterizer.compile.toolkit import dotted, driver_version, find_toolkit, host_compiler
from moegs_rasterizer.cpu.loading import available_isas
from moegs_rasterizer.types import Backend

from common.text.wording import bytes_text, counted
from engine.checks.rasterizer import TOLERANCE, differences_from_oracle
from engine.doctor.environment import disk
from engine.doctor.findings import Finding
from engine.runs.device import CPU, CUDA, ComputeDevice, device_name, gpu_here, gpu_versions

OLDEST_TORCH = (2, 10)
BUILD = {"cpu": "python -m moegs_rasterizer.build", "cuda": "python -m moegs_rasterizer.build --cuda"}


def rasterizer() -> Iterator[Finding]:
    """Findings about everything that renders; compiles what is not compiled yet."""
    yield _torch()
    yield from _gpu()
    yield _cpp_compiler()
    if gpu_here():
        yield _cuda_compiler()
    yield disk("disk, compiled libraries", cache_root())
    yield _libraries("C++ library", cpp_inventory(), BUILD["cpu"])
    if gpu_here() or cuda_inventory().libraries:
        yield _libraries("CUDA library", cuda_inventory(), BUILD["cuda"])
    yield from _stale()
    yield _rendering("torch", CPU)
    yield _rendering("cpu", CPU)
    if gpu_here():
        yield _rendering("cuda", CUDA)


def _torch() -> Finding:
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    found = f"{torch.__version__}, {built}, {counted(torch.get_num_threads(), 'thread')}"
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) >= OLDEST_TORCH:
        return Finding(subject="PyTorch", found=found)
    advice = f"install PyTorch {dotted(OLDEST_TORCH)} or newer: pip install -r requirements.txt -c constraints.txt"
    return Finding(subject="PyTorch", found=found, verdict="fault", advice=advice)


def _gpu() -> Iterator[Finding]:
    driver = driver_version()
    if driver is not None:
        yield Finding(subject="GPU driver", found=f"runs CUDA {dotted(driver)} at most")
    if not gpu_here():
        yield Finding(subject="GPU", found="none; commands compute on the CPU")
        return
    if not torch.cuda.is_available():
        advice = "see what nvidia-smi says, and install a PyTorch with CUDA: https://pytorch.org/get-started/locally"
        yield Finding(subject="GPU", found="there, but PyTorch cannot use it", verdict="fault", advice=advice)
        return
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        major, minor = torch.cuda.get_device_capability(device)
        free, total = torch.cuda.mem_get_info(device)
        name = f"{device_name(device)}, sm_{major}{minor}, {bytes_text(free)} of {bytes_text(total)} free"
        yield Finding(subject=f"GPU {index}", found=f"{name}, driver {gpu_versions(device)['cuda_driver']}")


def _cpp_compiler() -> Finding:
    try:
        command = find_compiler()
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except RasterizerError as error:
        return Finding(subject="C++ compiler", found="none", verdict="note", advice=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        advice = "repair it, or point CXX at another"
        return Finding(subject="C++ compiler", found=f"does not run: {error}", verdict="note", advice=advice)
    return Finding(subject="C++ compiler", found=f"{command[0]}: {said.splitlines()[0] if said else 'says nothing'}")


def _cuda_compiler() -> Finding:
    try:
        toolkit = find_toolkit(visible_architectures(), compiler=host_compiler(), newest=driver_version())
    except RasterizerError as error:
        return Finding(subject="CUDA compiler", found="none that will do", verdict="note", advice=str(error))
    return Finding(subject="CUDA compiler", found=f"{toolkit.nvcc}, CUDA {dotted(toolkit.version)}")


def _libraries(subject: str, inventory: Inventory, build: str) -> Finding:
    if inventory.damaged:
        found = f"damaged: {inventory.damaged[0]}"
        return Finding(subject=subject, found=found, verdict="note", advice=f"{build} compiles it again")
    if not inventory.libraries:
        return Finding(subject=subject, found="not compiled for these sources yet; the first use does it")
    return Finding(subject=subject, found=f"whole, of these sources: {inventory.libraries[-1]}")


def _stale() -> Iterator[Finding]:
    folders = stale_folders()
    if folders:
        size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
        found = f"{counted(len(folders), 'folder')} of other sources or another PyTorch, {bytes_text(size)}"
        advice = f"delete those that no other checkout uses, in {folders[0].parent}"
        yield Finding(subject="old libraries", found=found, verdict="note", advice=advice)


def _rendering(backend: Backend, device: torch.device) -> Finding:
    """The finding about a back-end: it renders five Gaussians as the oracle does."""
    subject = f'back-end "{backend}"'
    reason = {"cpu": cpu, "cuda": cuda}[backend].unavailable_reason() if backend in BUILD else None
    if reason is not None:
        return Finding(subject=subject, found="cannot run", verdict="fault", advice=reason)
    try:
        differences = differences_from_oracle(ComputeDevice(device=device, backend=backend))
    except (RasterizerError, RuntimeError) as error:
        advice = f"{BUILD.get(backend, 'reinstall PyTorch')} --force, or report it"
        return Finding(subject=subject, found=f"fails: {error}", verdict="fault", advice=advice)
    name = max(differences, key=differences.__getitem__)
    kernels = f", {available_isas()[-1]} kernels" if backend == "cpu" else ""
    found = f"{device_name(device)}{kernels}: differs from the oracle by {differences[name]:.1g} at most ({name})"
    if differences[name] <= TOLERANCE:
        return Finding(subject=subject, found=found)
    advice = f"{BUILD.get(backend, 'reinstall PyTorch:')} --force; until then use --backend torch"
    return Finding(subject=subject, found=found, verdict="fault", advice=advice)
