"""docs/extending/router_head.md: a router head is trained and rendered."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file

from demo.playroom import RigSize
from tests.extending.pages import answers, copy_product, follow, read_page, without_edits

SIZE = RigSize(width=48, height=36, num_frames=3, num_cameras=3)


def test_the_page_adds_a_router_head(tmp_path: Path) -> None:
    product = copy_product(tmp_path, size=SIZE)
    (ran,) = follow(read_page("router_head"), product)
    assert ran.code == 0, ran.err
    saved = product.out / "run/router/iteration_20"
    assert json.loads((saved / "router.json").read_text())["rgbfunction"] == "linear"
    heads = {
        name: list(value.shape) for name, value in load_file(saved / "router.safetensors").items() if "head" in name
    }
    assert heads == {"head.layer.weight": [1, 8, 1, 1]}
    metrics = json.loads((product.out / "run/test/itrs_20/metrics.json").read_text())
    assert metrics["means"]["MoE"]["psnr"] > min(metrics["means"][name]["psnr"] for name in metrics["experts"])
    assert (product.out / "run/test/itrs_20/videos/video_MoE.mp4").stat().st_size > 0


def test_without_the_row_there_is_no_such_choice(tmp_path: Path) -> None:
    blocks = read_page("router_head")
    (ran,) = follow(without_edits(blocks), copy_product(tmp_path, size=SIZE))
    assert (ran.code, [ran.err]) == (2, answers(blocks))
