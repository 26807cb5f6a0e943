"""Every bash and python block of the README, the quickstart, the tutorials and the guides runs, in the page's order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.docs.sandbox import ROOT, Block, blocks_of, make_sandbox, run_block

# Pages of a row share one clone: the later ones use what the earlier ones made.
CHAINS = (
    ("README.md", "docs/quickstart.md", "docs/reference/python_api.md"),
    ("docs/n3v.md", "docs/run_all.md"),
    ("docs/technicolor.md",),
    ("docs/your_videos.md", "docs/long_videos.md"),
    ("docs/prepare.md",),
    ("docs/train_expert.md",),
    ("docs/render_evaluate.md", "docs/compress.md", "docs/report.md"),
)
SHOWN_ONLY = ("text", "json", "bibtex")  # languages that nobody runs


def follow(root: Path, page: str, done: set[str]) -> None:
    """Runs a page's blocks; python blocks of a page run together, as in a notebook. A block runs once in a clone."""
    python = ""
    for block in blocks_of(page):
        assert block.language in ("bash", "python", *SHOWN_ONLY), f"{page}: nobody runs {block.language}"
        if block.language == "python":
            python += block.text
        elif block.language == "bash" and block.text not in done:
            check(root, block)
            done.add(block.text)
    if python and python not in done:
        check(root, Block(page=page, language="python", text=python))
        done.add(python)


def check(root: Path, block: Block) -> None:
    """Runs a block; AssertionError with what it printed where it fails."""
    ended = run_block(root, block)
    if "moegs.py check " in block.text and ended.returncode == 1:  # warnings: experts of four iterations are poor
        assert ended.stdout.endswith("see above\n")
        return
    assert ended.returncode == 0, f"{block.page}:\n{block.text}\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("pages", CHAINS, ids=lambda pages: Path(pages[0]).stem)
def test_the_blocks_run(pages: tuple[str, ...], tmp_path: Path) -> None:
    root, done = make_sandbox(tmp_path), set[str]()
    for page in pages:
        follow(root, page, done)
    if "docs/quickstart.md" in pages:
        for name in re.findall(r"^\| `(output/[^`]+)`", (ROOT / "docs/quickstart.md").read_text(), re.MULTILINE):
            assert (root / name).exists(), f"docs/quickstart.md names {name}, which is not there"


def test_a_block_that_fails_is_seen(tmp_path: Path) -> None:
    root = make_sandbox(tmp_path)
    good = Block(page="page", language="bash", text="python -c 'print(1)'\n")
    check(root, good)
    with pytest.raises(AssertionError, match="no command 'trian'"):
        check(root, replace(good, text="python moegs.py trian --help\n"))
    with pytest.raises(AssertionError, match="NameError"):
        check(root, replace(good, language="python", text="print(one)\n"))
