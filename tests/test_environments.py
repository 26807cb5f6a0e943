"""Every way to install takes the packages of requirements.txt at the versions of constraints.txt, and one CUDA."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from moegs_rasterizer.compile import cuda_library, steps, toolkit

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


def cuda_of_container() -> str:
    """Major and minor version of the CUDA that the container's image has."""
    return re.search(r"^ARG BASE=nvidia/cuda:(\d+\.\d+)\.\d+-devel-", text("Dockerfile"), re.MULTILINE)[1]


def test_container_and_conda_have_the_cuda_that_messages_name():
    assert f"cuda-toolkit-{cuda_of_container().replace('.', '-')}`" in toolkit._how_to_install((12, 0), None)
    listed = re.findall(r"^  - (cuda[\w-]*)(?:=(.+))?$", text("environment.yml"), re.MULTILINE)
    assert dict(listed)["cuda-version"] == cuda_of_container()
    named = toolkit._how_to_install((12, 0), (12, 8))  # what an older driver is told to install by conda
    assert set(dict(listed)) == set(re.findall(r"cuda-[a-z-]+(?=[ =])", named.split("`")[1])) | {"cuda-version"}


def test_the_container_compiles_for_architectures_that_exist_into_the_cache_that_is_read(monkeypatch, tmp_path):
    page = text("Dockerfile")
    architectures = re.search(r'^ARG CUDA_ARCHS="(.+)"$', page, re.MULTILINE)[1]
    assert {80, 90} <= set(cuda_library.named_architectures(architectures))
    assert 'python -m moegs_rasterizer.build --cuda --cuda_archs "$CUDA_ARCHS"' in page
    variable = re.search(r"^ENV (\w+)=/moegs/\.cache ", page, re.MULTILINE)[1]
    monkeypatch.setenv(variable, str(tmp_path))
    assert steps.cache_root() == tmp_path


def test_the_container_has_what_its_steps_and_its_heading_ask_for():
    page = text("Dockerfile")
    heading = [line for line in page.splitlines() if line.startswith("#")]
    given = set(re.findall(r"--build-arg (\w+)=", "\n".join(heading)))
    assert given == set(re.findall(r"^ARG (\w+)", page, re.MULTILINE)) == {"BASE", "TORCH_INDEX_URL", "CUDA_ARCHS"}
    assert "${TORCH_INDEX_URL:-}" in text("scripts/environment.sh")
    system = re.search(r"apt-get install -y --no-install-recommends (.+) \\$", page, re.MULTILINE)[1].split()
    assert {"g++", "python3", "python3-venv"} <= set(system)
    assert "VIRTUAL_ENV=/moegs/.venv PATH=/moegs/.venv/bin:$PATH" in page and "WORKDIR /moegs\n" in page


def test_the_scripts_take_the_pythons_of_the_project_and_try_every_package():
    taken = re.search(
        r"not \((\d+), (\d+)\) <= sys.version_info\[:2\] <= \((\d+), (\d+)\)", text("scripts/environment.sh")
    )
    numbers = tuple(map(int, taken.groups()))
    assert (numbers[:2], numbers[2:]) == PYTHONS
    tried = re.search(r"^for name in \((.+)\):$", text("scripts/env_setup.sh"), re.MULTILINE)[1]
    modules = {"pillow": "PIL"}
    assert set(re.findall(r'"(\w+)"', tried)) == {modules.get(name, name) for name in NEEDED} | {"moegs_rasterizer"}


def test_conda_and_scripts_install_lpips_alike():
    command = "install --no-deps -r requirements-lpips.txt"
    assert f"#   pip {command}\n" in text("environment.yml")
    assert command in text("scripts/environment.sh").replace("--quiet --disable-pip-version-check ", "")


def test_the_container_is_made_by_the_script_that_installs_them():
    setup = text("scripts/env_setup.sh")
    assert "RUN bash scripts/env_setup.sh\n" in text("Dockerfile")
    assert "ensure_environment requirements.txt\n" in setup
    assert '"${requirements[@]}" -c constraints.txt' in text("scripts/environment.sh")


def test_the_container_leaves_out_what_git_leaves_out():
    ignored = text(".dockerignore").split()
    assert {".git", ".venv", "data", "output"} <= set(ignored)
