"""Settings of the site: bash scripts/docs.sh builds it with Sphinx."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent

project = "MoE-GS"
author = "The MoE-GS developers"
extensions = ["myst_parser", "sphinx_copybutton"]
html_theme = "furo"
html_title = "MoE-GS"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 4
exclude_patterns = ["conf.py", "reference_pages.py"]

CONTENTS = {
    "Start": ("quickstart", "n3v", "technicolor", "your_videos"),
    "Guides": (
        "prepare",
        "check",
        "train_expert",
        "render_evaluate",
        "compress",
        "run_all",
        "long_videos",
        "many_gpus",
        "report",
        "view",
        "doctor",
        "export",
        "troubleshooting",
        "results",
        "repeatable",
    ),
    "Reference": (
        "reference/command_line",
        "reference/configs",
        "reference/file_formats",
        "reference/python_api",
        "reference/conventions",
    ),
    "Inside": (
        "architecture",
        "extending/expert",
        "extending/router_head",
        "extending/metric",
        "extending/layout",
        "dev/index",
    ),
}
MAINTAINERS = (
    "blend",
    "expert_training",
    "export",
    "faults",
    "fused",
    "long_videos",
    "preparation",
    "rasterizer",
    "realtime",
    "training_step",
    "viewer",
)


def add_contents(app: Any, page: str, source: list[str]) -> None:
    """Appends the table of contents to the start page, so that its Markdown stays readable elsewhere."""
    if page == "index":
        for caption, pages in CONTENTS.items():
            source[0] += _toctree(pages, caption)
    elif page == "dev/index":
        source[0] += _toctree(MAINTAINERS, "For maintainers")


def name_outside_pages(app: Any, page: str, source: list[str]) -> None:
    """Replaces links to Markdown outside of docs/, which the site does not hold, by the file's path."""
    folder = (DOCS / page).parent

    def named(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if target.is_relative_to(DOCS):
            return match[0]
        return f"{match[1]} (`{target.relative_to(DOCS.parent).as_posix()}`)"

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#]+\.md)(?:#[^)]*)?\)", named, source[0])


def _toctree(pages: tuple[str, ...], caption: str) -> str:
    names = "\n".join(pages)
    return f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def setup(app: Any) -> None:
    """Connects this file's functions to Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("source-read", name_outside_pages)
