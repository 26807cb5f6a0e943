"""The page: a run and a player in one HTML file, which opens from disk in any browser with WebGL2.

The player blends the experts' images as the router does, so that a page shows the mixture itself.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.disk.faults import reading
from common.disk.files import replacing
from engine.errors import ConfigError
from engine.export.pages.data import PageExpert, PageGrid, packed, unpacked
from engine.export.pages.rules import rules_facts, rules_of
from engine.runs.device import ComputeDevice
from router import Router, mix
from router.heads import HeadKind
from router.novel_views import NovelViews
from scenes import View

PLAYER = Path(__file__).resolve().parents[2] / "player"
SCRIPTS = ("data.js", "shaders.js", "renderer.js", "camera.js", "player.js")  # in one scope, in this order
ROOM = 4_000  # bytes of facts that are known when a page is written: what was left out, and what was measured
MOST_EXPERTS = 8  # as many as the shaders have room for
_BLOCK = r'<script id="{}" type="[a-z/]+">(.*?)</script>'


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The content of a page."""

    experts: Sequence[PageExpert]
    frames: int
    head: Mapping[str, Tensor]  # the state of the router's head
    head_kind: HeadKind
    temperature: float
    novel: NovelViews  # rules at cameras that are not the training's; it fills no holes

    def router(self) -> Router:
        """The router that blends the page's splats."""
        names, counts = zip(*((each.name, each.splats.num_gaussians) for each in self.experts), strict=True)
        router = Router(names, counts, kind=self.head_kind, temperature=self.temperature).requires_grad_(False)
        for index, each in enumerate(self.experts):
            router.features.static[index].copy_(each.routing[:, :2])
            router.features.temporal[index].copy_(each.routing[:, 2:])
        router.head.load_state_dict(dict(self.head))
        return router


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPage:
    """A page without the facts that are known once it was read again and measured."""

    splats: str
    facts: Mapping[str, object]  # of the splats, and those that `coded_page` was told

    @property
    def size(self) -> int:
        """The bytes of the page, with room for the other facts."""
        player = sum(path.stat().st_size for path in PLAYER.iterdir())
        return len(self.splats) + len(_facts_text(self.facts)) + len(self.title.encode()) + player + ROOM

    @property
    def title(self) -> str:
        """The title as markup."""
        return html.escape(str(self.facts.get("title", "")))


def coded_page(page: Page, *, cameras: Sequence[View], grid: PageGrid, facts: Mapping[str, object]) -> CodedPage:
    """The text of a page's splats, computed on their device. cameras: by which harmonics are rounded.

    facts: for the player, beside those of the splats: `title`, `fps`, `target` and `cameras`, of which those of the
    training are marked, as `camera_facts` does.
    """
    text, known = packed(page.experts, cameras=[view.camera.centre for view in cameras], grid=grid)
    head = {name: {"shape": list(value.shape), "values": value.flatten().tolist()} for name, value in page.head.items()}
    router = {"head": head, "kind": page.head_kind, "temperature": page.temperature}
    own = {"frames": page.frames, "router": router, "rules": rules_facts(page.novel)}
    return CodedPage(splats=text, facts={**facts, **known, **own})


def _facts_text(facts: Mapping[str, object]) -> str:
    """Facts as a block of a page; all of it is ASCII."""
    return json.dumps(facts).replace("<", "\\u003c")


def write_page(path: Path, coded: CodedPage, *, facts: Mapping[str, object]) -> None:
    """Writes a page. facts: what was left out and measured."""
    parts = {
        "TITLE": coded.title,
        "FACTS": _facts_text({**facts, **coded.facts}),
        "SPLATS": coded.splats,
        "SORTER": (PLAYER / "sorter.js").read_text(encoding="utf-8"),
        "SCRIPTS": "\n".join((PLAYER / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    template = (PLAYER / "page.html").read_text(encoding="utf-8")
    filled = re.sub(r"\{\{([A-Z]+)\}\}", lambda match: parts[match[1]], template)
    with replacing(path) as temporary:
        temporary.write_text(filled, encoding="utf-8")


def read_page(path: Path) -> Page:
    """The content of a page; ConfigError where it is no page of `write_page`."""
    with reading(path, "is no page of moegs.py export", ConfigError, advice="export it again"):
        text = path.read_text(encoding="utf-8")
        facts = json.loads(_block(text, "facts"))
        router = facts["router"]
        return Page(
            experts=unpacked(_block(text, "splats"), facts),
            frames=facts["frames"],
            head={name: torch.tensor(each["values"]).view(each["shape"]) for name, each in router["head"].items()},
            head_kind=router["kind"],
            temperature=router["temperature"],
            novel=rules_of(facts),
        )


def _block(text: str, name: str) -> str:
    match = re.search(_BLOCK.format(name), text, re.DOTALL)
    if match is None:
        raise ValueError(f"no {name} in it")
    return match[1]


class PagePictures:
    """The pictures that a page shows, by our rasterizer, at cameras that are not the training's."""

    def __init__(self, page: Page, compute: ComputeDevice) -> None:
        self.page, self.compute = page, compute
        self.router = page.router().to(compute.device)
        self.experts = [each.splats.requires_grad_(False).to(compute.device) for each in page.experts]
        culling = page.novel.culling
        self.novel = page.novel if culling is None else replace(page.novel, culling=culling.to(compute.device))

    def __call__(self, camera: Camera, frame: float) -> Tensor:
        """The mixture [3, h, w]."""
        return mix(
            self.router,
            self.experts,
            camera,
            frame=frame,
            time=frame / self.page.frames,
            temperature=self.page.temperature,
            backend=self.compute.backend,
            novel=self.novel,
        ).image


def camera_facts(view: View, *, training: bool) -> dict[str, Any]:
    """A camera for the player. training: the experts learned from it. No rule holds there, and it speaks for others."""
    camera = view.camera
    numbers = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    matrix = camera.world_to_camera.flatten().tolist()
    return {"name": view.name, "training": training, "world_to_camera": matrix, **numbers}
