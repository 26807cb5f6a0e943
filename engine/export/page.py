"""The page: splats and a player in one HTML file, which opens from disk in any browser with WebGL2."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import replacing
from engine.export.page_data import PageSplats, Shown, packed, unpacked
from scenes import View

PLAYER = Path(__file__).resolve().parents[1] / "player"
SCRIPTS = ("data.js", "shaders.js", "renderer.js", "camera.js", "player.js")  # in one scope, in this order
MOST_MEGABYTES = 30  # of a page that phones still open
MOST_EXPERTS = 8  # as many as the shader has shares for
_BLOCK = r'<script id="{}" type="[a-z/]+">(.*?)</script>'


def write_page(
    path: Path,
    page: PageSplats,
    *,
    facts: Mapping[str, object],
    cameras: Sequence[View],
    steps: tuple[int, int, int],
) -> None:
    """Writes a page. facts: for the player, see `player_facts`. cameras, steps: by which harmonics are rounded."""
    text, known = packed(page, cameras=[view.camera.centre for view in cameras], steps=steps)
    parts = {
        "TITLE": html.escape(str(facts["title"])),
        "NOTE": html.escape(str(facts.get("note", ""))),
        "FACTS": json.dumps({**facts, **known}).replace("<", "\\u003c"),
        "SPLATS": text,
        "SORTER": (PLAYER / "sorter.js").read_text(encoding="utf-8"),
        "SCRIPTS": "\n".join((PLAYER / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    template = (PLAYER / "page.html").read_text(encoding="utf-8")
    filled = re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], template)
    with replacing(path) as temporary:
        temporary.write_text(filled, encoding="utf-8")


def read_page(path: Path, *, expert: int | None = None) -> Shown:
    """The splats of a page as its player shows them. expert: the number of the one that is on; None: all are."""
    text = path.read_text(encoding="utf-8")
    facts, splats = (re.search(_BLOCK.format(name), text, re.DOTALL) for name in ("facts", "splats"))
    assert facts is not None and splats is not None, f"{path}: is no page of this command"
    return Shown(unpacked(splats[1], json.loads(facts[1])), expert=expert)


def player_facts(
    page: PageSplats,
    *,
    title: str,
    names: Sequence[str],
    fps: float,
    target: Sequence[float],
    cameras: Sequence[View],
) -> dict[str, Any]:
    """What the player needs to know beside the splats. cameras: to choose from; the first is shown first.

    target: the point that the camera turns around. names: of the experts.
    """
    splats = page.splats
    opaque = splats.gaussians.opacity_logits.detach().sigmoid()
    weights = [(page.gates * opaque)[page.experts == number] for number in range(len(names))]
    means = [float(weight.sum() / opaque[page.experts == number].sum()) for number, weight in enumerate(weights)]
    return {
        "title": title,
        "frames": splats.num_frames,
        "fps": fps,
        "near": splats.settings.near,
        "background": list(splats.background),
        "experts": [{"name": name, "gate": mean / sum(means)} for name, mean in zip(names, means, strict=True)],
        "target": [float(value) for value in target],
        "cameras": [_camera(view) for view in cameras],
    }


def _camera(view: View) -> dict[str, Any]:
    camera = view.camera
    numbers = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    return {"name": view.name, "world_to_camera": camera.world_to_camera.flatten().tolist(), **numbers}
