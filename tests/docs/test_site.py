"""The site builds without a warning, its links lead somewhere, and its reference pages are those of the code."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import moegs
from engine import api

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """The links and the anchors of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {name for key in ("id", "name") if (name := values.get(key))}
        link = values.get("href") or values.get("src")
        if link and "://" not in link and not link.startswith(("mailto:", "data:")):
            self.links.append(unquote(link))


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Builds a site as scripts/docs.sh does: a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", f"{target}-doctrees"]
    return subprocess.run([*command, str(source), str(target)], capture_output=True, text=True, check=False)


def broken_links(site: Path) -> list[str]:
    """Links within a site that lead to no file or to no anchor."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert pages
    broken = []
    for path, page in pages.items():
        for link in page.links:
            name, _, anchor = link.partition("#")
            target = (path.parent / name.partition("?")[0]).resolve() if name else path
            known = pages[target].anchors if target in pages else set()
            if not target.exists() or (anchor and target in pages and anchor not in known):
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    target = tmp_path_factory.mktemp("site") / "html"
    ended = build(ROOT / "docs", target)
    assert ended.returncode == 0, ended.stderr
    return target


def test_every_page_is_built_and_every_link_leads_somewhere(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()
    assert broken_links(site) == []


def test_warnings_and_broken_links_are_seen(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text('extensions = ["myst_parser"]\n')
    (source / "index.md").write_text("# Title\n\n[gone](gone.md)\n")
    assert build(source, tmp_path / "site").returncode != 0
    (source / "index.md").write_text('# Title\n\n<a href="gone.html">gone</a> <a href="#no">no</a>\n')
    assert build(source, tmp_path / "site").returncode == 0
    assert {link.split(": ")[1] for link in broken_links(tmp_path / "site")} >= {"gone.html", "#no"}


def test_the_reference_pages_are_up_to_date() -> None:
    command = [sys.executable, "docs/reference_pages.py", "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_api_page_explains_every_name() -> None:
    text = (ROOT / "docs/reference/python_api.md").read_text(encoding="utf-8")
    assert set(api.__all__) < set(moegs.__all__)
    assert [name for name in api.__all__ if f"`{name}" not in text and f"moegs.{name}" not in text] == []
