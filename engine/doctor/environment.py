"""Python, its packages against the tested versions, memory and disk."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from common.text.units import GIGABYTE
from common.text.wording import ROOT, bytes_text
from engine.doctor.findings import Finding

PYTHONS = ((3, 10), (3, 12))  # oldest and newest, as requires-python in pyproject.toml says
CONSTRAINTS = ROOT / "constraints.txt"
NEEDED = ("torch", "numpy", "scipy", "pillow", "av", "safetensors", "pycolmap", "tyro", "filelock", "tqdm")
LEAST_MEMORY, LEAST_DISK = 4 * GIGABYTE, 2 * GIGABYTE  # below them a training of a real scene soon ends
_CONSTRAINT = re.compile(r"([\w.-]+)==([\w.]+)(?:; python_version (>=|<) \"(\d+)\.(\d+)\")?")


def environment() -> Iterator[Finding]:
    """Findings about the machine without its devices."""
    yield _python()
    yield from packages()
    yield _memory()
    yield from _disks()


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    oldest, newest = (".".join(map(str, one)) for one in PYTHONS)
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding(subject="Python", found=found)
    advice = f"use Python {oldest} to {newest}: PYTHON=/path/to/python bash scripts/env_setup.sh"
    return Finding(subject="Python", found=found, verdict="fault", advice=advice)


def constraints(text: str, python: tuple[int, int]) -> dict[str, str]:
    """Tested versions by package for a Python, from the text of constraints.txt; ValueError for any other text."""
    tested = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _CONSTRAINT.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"constraints.txt: {line!r} is no NAME==VERSION")
        name, wanted, relation, *bound = match.groups()
        if relation is None or (python >= (int(bound[0]), int(bound[1]))) == (relation == ">="):
            tested[name.lower()] = wanted
    return tested


def packages() -> Iterator[Finding]:
    """Findings about packages: each that is missing, and each of another version than the tested one."""
    tested = constraints(CONSTRAINTS.read_text(encoding="utf-8"), sys.version_info[:2])
    installed = {name: found for name in tested if (found := _version(name)) is not None}
    for name in NEEDED:
        if name not in installed:
            advice = "pip install -r requirements.txt -c constraints.txt"
            yield Finding(subject=name, found="not installed", verdict="fault", advice=advice)
    others = {name: found for name, found in installed.items() if found.split("+")[0] != tested[name]}
    for name, found in others.items():
        advice = f"pip install {name}=={tested[name]}, if something fails"
        yield Finding(subject=name, found=f"{found}, tested with {tested[name]}", verdict="note", advice=advice)
    yield Finding(subject="packages", found=f"{len(installed) - len(others)} of the tested versions")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = bytes_text(total)
    if total >= LEAST_MEMORY:
        return Finding(subject="memory", found=found)
    return Finding(subject="memory", found=found, verdict="note", advice="raise --resolution: smaller images need less")


def _disks() -> Iterator[Finding]:
    yield disk("disk, here", Path.cwd())
    yield disk("disk, temporary files", Path(tempfile.gettempdir()))


def disk(subject: str, folder: Path) -> Finding:
    """The finding about the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{bytes_text(free)} free in {folder}"
    if not os.access(existing, os.W_OK):
        advice = "set MOEGS_RASTERIZER_CACHE, TMPDIR or the working folder to one that you can write to"
        return Finding(subject=subject, found=f"{folder} cannot be written", verdict="fault", advice=advice)
    if free < LEAST_DISK:
        return Finding(subject=subject, found=found, verdict="note", advice="free some space: frames take gigabytes")
    return Finding(subject=subject, found=found)
