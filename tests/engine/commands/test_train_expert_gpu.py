from __future__ import annotations

import json

import pytest
import torch

from tests.engine.expert_scene import NAMES, reloaded, run, write_film

pytestmark = pytest.mark.cuda

AGAINST_OVERFITTING = (
    *("generalise.dropout=0.2", "generalise.opacity=0.01", "generalise.scale=0.01", "generalise.near=0.2"),
    *("generalise.single_view=0.9", "generalise.smallest_px=0.3", "generalise.depth=0.1", "sh_degree=1"),
)


@pytest.mark.parametrize("settings", [(), AGAINST_OVERFITTING], ids=["plain", "against over-fitting"])
@pytest.mark.parametrize("expert", tuple(NAMES))
def test_an_expert_is_trained_on_a_gpu_and_continued(tmp_path, expert, settings):
    film, model = write_film(tmp_path), tmp_path / "model"
    arguments = ("--device=cuda", "--colour_correction", "--set", "density.start=4", "density.every=6", *settings)
    assert run(film, model, expert, *arguments) == 0
    report = json.loads((model / "train_expert.json").read_text())
    assert report["device"] == torch.cuda.get_device_name() and report["peak_gpu_memory_mib"] is not None
    assert all(value.isfinite().all() for value in reloaded(expert, model).values() if value.is_floating_point())
    (model / "train_expert.json").unlink()
    assert run(film, model, expert, "--resume", *arguments) == 0  # only the report is left to do
    again = json.loads((model / "train_expert.json").read_text())
    assert again["scores"]["psnr"] == pytest.approx(report["scores"]["psnr"], abs=1e-3)
