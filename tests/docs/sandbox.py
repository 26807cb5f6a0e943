"""A folder like a clone in which the docs' commands run: small scenes at the pages' paths, trainings cut short."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.scenes.preparation.textured_room import image, room_cameras
from tests.scenes.scene_folders import Rig, rig_cameras, write_poses_bounds, write_technicolor_scene, write_video
from tests.warm_python import write_stand_in

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
N3V_UNITS = 10.0  # the room in units in which N3V's near plane, 4, cuts nothing off
SHORT = ["--iterations", "4", "--test_frames", "1"]

# In the stand-in for `python`: further arguments by the script or the command, instead of some of the page's.
SHORTER = """
SHORTENED = {shortened}
TOO_LONG = {too_long}
FEWER = {fewer}
script = os.path.basename(arguments[0]) if arguments else ""  # scripts give its whole path
name = next((key for key in (" ".join([script, *arguments[1:2]]), script) if key in SHORTENED), None)
if name is not None and not any(argument.startswith("demo/experts") for argument in arguments):
    kept, skip = [], False
    for argument in arguments:
        if argument.startswith("--"):
            skip = argument in TOO_LONG
        if not skip:
            kept.append(FEWER.get(kept[-1] if kept else "", argument))
    arguments = kept + SHORTENED[name]
"""
SHORTENED = {
    **{f"train_{name}.py": [*SHORT, "--test_iterations"] for name in ("E4", "E3")},
    "train_E3_tech.py": [*SHORT, "--test_iterations", "--end_timestamp", "154", "--duration", "3"],  # not the file's
    "moegs.py train": [*SHORT, "--test_iterations"],
    "moegs.py train-expert": [*SHORT, "--test_iterations", "--max_gaussians", "2000", "--max_points", "300"],
    **{f"render_{name}.py": ["--constant_frames", "1"] for name in ("E4", "E3", "E3_tech")},
    "moegs.py prune": ["--iterations", "2", "--score_frames", "1"],
    "-m benchmarks.pruning_curve": [
        *("--iterations", "2", "--score_frames", "1", "--test_frames", "1", "--rounds", "1", "--ratios", "0.5")
    ],
    "moegs.py distill": SHORT,
    "moegs.py prepare": ["--threads", "2", "--max_features", "600"],
    "moegs.py auto": ["--budget", "90s", "--plan"],  # a CPU has no GB to plan
    "moegs.py run-all": [  # its steps are started by the other stand-in, UNCHANGED
        "--data_args=",
        "--prepare_args=--threads 2 --max_features 600",
        f"--expert_args={' '.join(SHORT)} --test_iterations --max_gaussians 2000 --max_points 300",
        f"--train_args={' '.join(SHORT)} --test_iterations",
        "--render_args=--constant_frames 1",
    ],
}
TOO_LONG = (  # flags of the page that the stand-in for python leaves out
    *("--iterations", "--test_frames", "--iteration", "--test_iterations", "--save_iterations"),
    *("--duration", "--end_timestamp", "--max_gaussians", "--max_points"),
)
FEWER = {"--router_cameras": "1"}  # values of the page for larger rigs than the stand-in scenes
UNCHANGED = "python_of_commands"  # stands in for the one with which commands start others, without further arguments
# Stand in for what needs the network: they only check that the page asks for it properly.
CURL = """#!/usr/bin/env bash
[[ "$*" == *https://* ]] || { echo "curl: no address" >&2; exit 1; }
while [ $# -gt 0 ]; do
    case $1 in
        -*o) touch "$2"; shift ;;
        -*O) touch "$(basename "$2")"; shift ;;
    esac
    shift
done
"""
UNZIP = """#!/usr/bin/env bash
for argument in "$@"; do [[ "$argument" != *.zip ]] || [ -f "$argument" ] || { echo "no $argument" >&2; exit 1; }; done
"""
ZIP = """#!/usr/bin/env bash
[ -f "$2" ] && [ "$3" = --out ] && touch "$4"
"""
# The parts of the scripts that would install packages or run all tests.
ENVIRONMENT = "ensure_environment() { :; }\n"
NOTHING = "#!/usr/bin/env bash\n"
SBATCH = "#!/usr/bin/env bash\necho 1\n"  # the number of a job


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of a page."""

    page: str
    language: str
    text: str


def blocks_of(page: str) -> Iterator[Block]:
    """The blocks of a page, a path below the repository, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [Block(page=page, language=match[1], text=match[2]) for match in _BLOCK.finditer(text)]
    assert 2 * len(blocks) == len(re.findall(r"^```", text, re.MULTILINE)), f"{page}: a block without language or end"
    yield from blocks


def make_sandbox(folder: Path) -> Path:
    """A folder with links to the code, stand-in scenes below data/, and stand-ins for programs, as python and curl."""
    root = folder / "clone"
    root.mkdir(parents=True)
    for path in ROOT.iterdir():
        if path.name not in (".git", ".venv", "output", "data", "scripts") and not path.name.endswith("_cache"):
            (root / path.name).symlink_to(path)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "scripts" / "environment.sh").write_text(ENVIRONMENT)
    for name in ("test.sh", "docs.sh", "test_cuda.sh"):
        (root / "scripts" / name).write_text(NOTHING)
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "activate").touch()
    shorter = SHORTER.format(shortened=SHORTENED, too_long=TOO_LONG, fewer=FEWER)
    tools = root / ".venv" / "bin"
    write_stand_in(tools / "python", "product", changes=shorter)
    write_stand_in(tools / UNCHANGED, "product")
    for name, text in {"curl": CURL, "unzip": UNZIP, "zip": ZIP, "pip": NOTHING, "sbatch": SBATCH}.items():
        path = tools / name
        path.write_text(text)
        path.chmod(0o755)
    write_scenes(root / "data")
    return root


def write_scenes(data: Path) -> None:
    """Rooms as N3V scenes, as videos of unknown cameras, and as a Technicolor scene."""
    cameras = list(room_cameras().values())
    images = [image(camera) for camera in cameras]
    names = {
        "N3V/flame_steak": [f"cam{number:02d}" for number in range(6)],
        "N3V/coffee_martini": [*(f"cam{number:02d}" for number in range(5)), "cam13"],
        "mine": [f"GX01_{number}" for number in range(1, 7)],
    }
    for name, videos in names.items():
        folder = data / name
        folder.mkdir(parents=True)
        for video, pixels in zip(videos, images, strict=True):
            write_video(folder / f"{video}.mp4", [pixels] * 3)
        if name != "mine":
            write_poses_bounds(folder / "poses_bounds.npy", cameras)
            _scale(folder / "poses_bounds.npy")
    shape = {"width": 320, "height": 240, "focal": 260.0}
    rig = Rig(cameras=[f"cam{index:02d}" for index in range(12)], start=151, frames=3, **shape)
    views = [image(camera) for camera in rig_cameras(rig).values()]
    write_technicolor_scene(data / "techni/Birthday", rig, image=lambda camera, *_: views[camera])


def _scale(path: Path) -> None:
    """Multiplies centres and bounds of a poses_bounds.npy."""
    rows = np.load(path)
    rows[:, [3, 8, 13, -2, -1]] *= N3V_UNITS
    np.save(path, rows)


def run_block(root: Path, block: Block) -> subprocess.CompletedProcess[str]:
    """Runs a bash or python block in the sandbox, on one thread of the CPU."""
    tools = root / ".venv" / "bin"
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(tools), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "submodules/diff-gaussian-rasterization")]),
        "PYTHON": str(tools / "python"),
        "WARM_PYTHON": str(tools / UNCHANGED),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else ["python", "-c"]
    return subprocess.run(
        [*command, block.text], cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
