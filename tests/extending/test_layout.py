"""docs/extending/layout.md: a data layout is guessed, prepared, trained on and rendered."""

from __future__ import annotations

import json
from pathlib import Path

from demo.playroom import RigSize
from tests.extending.pages import answers, copy_product, follow, read_page, without_edits

SIZE = RigSize(width=128, height=96, num_frames=2, num_cameras=5)
HELD_OUT = "cam01"


def test_the_page_adds_a_layout(tmp_path: Path) -> None:
    product = copy_product(tmp_path, size=SIZE)
    ran = follow(read_page("layout"), product)
    assert [one.code for one in ran] == [0, 0, 0, 0], ran[-1].err
    _, prepared, trained, _ = ran
    room = product.out / "room"
    assert prepared.out.startswith(f"{room}: 5/5 cameras")
    for name in ("points3D.ply", "colmap_0/sparse/0/points3D.bin", "preparation/contact_sheet.png"):
        assert (room / name).stat().st_size > 0
    assert "points from the COLMAP models of 1 of 2 frames" in trained.err  # the preparation's
    settings = json.loads((product.out / "stg/train_expert.json").read_text())["settings"]
    assert settings["training cameras"] == ["cam00", "cam02", "cam03", "cam04"]
    scene = json.loads((product.out / "run/router/iteration_20/router.json").read_text())["scene"]
    assert (scene["layout"], scene["test"], scene["num_frames"]) == ("studio", [HELD_OUT], 2)
    metrics = json.loads((product.out / "run/test/itrs_20/metrics.json").read_text())
    assert (metrics["cameras"], metrics["held_out"]) == ([HELD_OUT], [True])
    assert metrics["means"]["Ex4DGS"]["psnr"] > 15  # the demo's expert fits these cameras: 19 seen


def test_without_the_row_there_is_nothing_to_prepare(tmp_path: Path) -> None:
    blocks = read_page("layout")
    steps = [block for block in without_edits(blocks) if not block.text.startswith("python - ")]  # without a scene
    (ran,) = follow(steps, copy_product(tmp_path, size=RigSize(width=16, height=12, num_frames=1, num_cameras=2)))
    assert (ran.code, [ran.err]) == (2, answers(blocks))
