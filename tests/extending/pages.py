"""The code blocks of docs/extending/, and copies of the product in which a reader's steps are done.

The info string of a block says what a reader does with it:

    python file=PATH    writes it to a new file
    diff edit=PATH      changes a file: "-" lines go, "+" lines come, " " lines stay; all but "+" are there exactly once
    bash                runs it in the repository's folder
    bash scene          runs it for footage; tests film a smaller scene instead, at $SCENE
    text                compares it with what a command answers
    (none)              reads it

Commands write below $OUT.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from demo.playroom import PointCounts, RigSize, write_scene
from tests.warm_python import write_stand_in

ROOT = Path(__file__).resolve().parents[2]
UNCHANGED = ("demo/experts", "submodules")  # linked: no page edits them
_BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block of a page."""

    language: str
    argument: str  # behind the language; empty where there is none
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Commands that have ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A copy of the product, with a scene, a folder for results, and a folder with a `python` that begins warm."""

    root: Path
    tools: Path
    scene: Path
    out: Path

    def path(self, name: str) -> Path:
        """The path of a file in the copy. Raises AssertionError where a link leads to the product itself."""
        path = (self.root / name).resolve()
        assert path.is_relative_to(self.root.resolve()), f"{name} is not copied: see UNCHANGED"
        return path

    def run(self, *command: str) -> Ran:
        """Runs a command in the copy, on the CPU."""
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.root), str(self.root / "submodules/diff-gaussian-rasterization")]),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "SCENE": str(self.scene),
            "OUT": str(self.out),
        }
        ended = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        return Ran(code=ended.returncode, out=ended.stdout, err=ended.stderr)


def read_page(name: str) -> list[Block]:
    """The blocks of docs/extending/<name>.md, in their order."""
    text = (ROOT / "docs" / "extending" / f"{name}.md").read_text(encoding="utf-8")
    blocks = [Block(language=match[1], argument=match[2] or "", text=match[3]) for match in _BLOCK.finditer(text)]
    assert 2 * len(blocks) == text.count("\n```"), f"{name}.md: a block without an end, or with a longer info string"
    return blocks


def copy_product(folder: Path, *, size: RigSize) -> Product:
    """Copies the product below a folder, so that edits change only the copy, and films the demo's scene there."""
    product = Product(root=folder / "product", tools=folder / "tools", scene=folder / "playroom", out=folder / "out")
    product.root.mkdir()
    write_stand_in(product.tools / "python", "packages")
    for package in ROOT.glob("*/__init__.py"):
        shutil.copytree(package.parent, product.root / package.parent.name, ignore=_not_copied)
    shutil.copytree(ROOT / "tests", product.root / "tests", ignore=_not_copied)
    for file in (*ROOT.glob("*.py"), ROOT / "pyproject.toml"):
        shutil.copy2(file, product.root)
    for name in UNCHANGED:
        (product.root / name).symlink_to(ROOT / name)
    write_scene(product.scene, size=size, counts=PointCounts(still=100, moving=50, instants=1))
    return product


def follow(blocks: list[Block], product: Product) -> list[Ran]:
    """Does the blocks in order and stops at the first commands that fail; returns the ended commands.

    Blocks of the kind "bash scene" are left out.
    """
    ran = []
    for block in blocks:
        match block.language, *block.argument.partition("="):
            case "python", "file", "=", name:
                _write_new(product.path(name), block.text)
            case "diff", "edit", "=", name:
                _edit(product.path(name), block.text)
            case "bash", "", "", "":
                ran.append(product.run("bash", "-euo", "pipefail", "-c", block.text))
                if ran[-1].code != 0:
                    break
            case ("bash", "scene", "", "") | ("text" | "", "", "", ""):
                pass
            case _:
                raise AssertionError(f"a block of {block.language} {block.argument} has no meaning")
    return ran


def without_edits(blocks: list[Block]) -> list[Block]:
    """The blocks without the edits: those of a reader who forgets the table's row."""
    return [block for block in blocks if block.language != "diff"]


def answers(blocks: list[Block]) -> list[str]:
    """The commands' outputs as the page shows them."""
    return [block.text for block in blocks if block.language == "text"]


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """Names to leave out of the copy: linked folders, and half-written bytecode of other tests, which may vanish."""
    below = Path(folder).relative_to(ROOT)
    return {name for name in names if (below / name).as_posix() in UNCHANGED or ".pyc." in name}


def _write_new(path: Path, text: str) -> None:
    assert not path.exists(), f"{path} is there already; the page says it is new"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _edit(path: Path, difference: str) -> None:
    lines = difference.splitlines(keepends=True)
    assert all(line[0] in " +-" for line in lines), f"{path}: a line of the edit begins with none of ' +-'"
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path} has these lines {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
