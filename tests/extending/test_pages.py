"""The helper that does a page's steps refuses what a reader could not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extending.pages import ROOT, Block, Product, follow, read_page


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A product of one file, and of a link to the real one."""
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "table.py").write_text("ROWS = (\n    A,\n    B,\n    B,\n)\n")
    (tmp_path / "product" / "submodules").symlink_to(ROOT / "submodules")
    return Product(root=tmp_path / "product", tools=tmp_path, scene=tmp_path / "scene", out=tmp_path / "out")


def test_every_page_is_read_by_a_test_of_its_own() -> None:
    for page in (ROOT / "docs" / "extending").glob("*.md"):
        assert f'read_page("{page.stem}")' in (Path(__file__).with_name(f"test_{page.stem}.py")).read_text()
        assert any(block.language == "diff" for block in read_page(page.stem))


def test_an_edit_changes_the_lines_it_shows_and_no_others(product: Product) -> None:
    follow([Block(language="diff", argument="edit=table.py", text="     A,\n+    C,\n")], product)
    assert (product.root / "table.py").read_text() == "ROWS = (\n    A,\n    C,\n    B,\n    B,\n)\n"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Block(language="diff", argument="edit=table.py", text="     D,\n+    C,\n"), "has these lines 0 times"),
        (Block(language="diff", argument="edit=table.py", text="     B,\n+    C,\n"), "has these lines 2 times"),
        (Block(language="diff", argument="edit=table.py", text="    A,\n*    C,\n"), "begins with none of"),
        (Block(language="diff", argument="edit=submodules/README.md", text="+C\n"), "is not copied"),
        (Block(language="python", argument="file=table.py", text=""), "is there already"),
        (Block(language="python", argument="", text=""), "has no meaning"),
        (Block(language="sh", argument="", text=""), "has no meaning"),
    ],
)
def test_a_step_that_cannot_be_done_is_an_error(block: Block, message: str, product: Product) -> None:
    with pytest.raises(AssertionError, match=message):
        follow([block], product)


def test_commands_run_in_the_copy_and_the_first_that_fail_are_the_last(product: Product) -> None:
    texts = ['ls *.py; echo "$SCENE"', "false\ntouch never", "touch never"]
    ran = follow([Block(language="bash", argument="", text=text) for text in texts], product)
    assert [one.code for one in ran] == [0, 1]
    assert ran[0].out == f"table.py\n{product.scene}\n"
    assert not (product.root / "never").exists()
