"""Every way to install takes the packages of requirements.txt at the versions of constraints.txt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.doctor.environment import NEEDED, PYTHONS, constraints

ROOT = Path(__file__).resolve().parents[1]
FILES = {"-r": "requirements.txt", "-c": "constraints.txt"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def python_range() -> tuple[tuple[int, int], tuple[int, int]]:
    """Oldest and newest Python that pyproject.toml allows."""
    match = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', text("pyproject.toml"), re.MULTILINE)
    return (3, int(match[1])), (3, int(match[2]) - 1)


def test_requirements_are_those_of_the_project():
    lines = [line for line in text("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines == ["-e ."]
    assert python_range() == PYTHONS


def test_the_doctor_needs_what_the_project_needs():
    inside = re.search(r"^dependencies = \[.*\n((?:    .*\n)+)", text("pyproject.toml"), re.MULTILINE)[1]
    names = [re.match(r'    "([\w-]+)', line)[1].lower() for line in inside.splitlines()]
    assert sorted(names) == sorted(NEEDED)


@pytest.mark.parametrize("python", [(3, minor) for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)])
def test_every_package_that_is_needed_has_a_tested_version(python):
    assert set(NEEDED) <= constraints(text("constraints.txt"), python).keys()


def test_the_conda_environment_has_these_packages():
    page = text("environment.yml")
    inside = re.search(r"  - pip:\n((?:      - .+\n)+)", page)[1]
    assert dict(line.split()[1:] for line in inside.splitlines()) == FILES
    python = tuple(map(int, re.search(r"- python=(\d+)\.(\d+)$", page, re.MULTILINE).groups()))
    assert PYTHONS[0] <= python <= PYTHONS[1]


def test_the_container_is_made_by_the_script_that_installs_them():
    setup = text("scripts/env_setup.sh")
    assert "RUN bash scripts/env_setup.sh\n" in text("Dockerfile")
    assert "ensure_environment requirements.txt\n" in setup
    assert '"${requirements[@]}" -c constraints.txt' in text("scripts/environment.sh")


def test_the_container_leaves_out_what_git_leaves_out():
    ignored = text(".dockerignore").split()
    assert {".git", ".venv", "data", "output"} <= set(ignored)
