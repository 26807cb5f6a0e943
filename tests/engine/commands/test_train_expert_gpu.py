from __future__ import annotations

import json

import pytest
import torch

from tests.engine.expert_scene import NAMES, reloaded, run, write_film

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("expert", tuple(NAMES))
def test_an_expert_is_trained_on_a_gpu_and_continued(tmp_path, expert):
    film, model = write_film(tmp_path), tmp_path / "model"
    arguments = ("--device=cuda", "--colour_correction", "--set", "density.start=4", "density.every=6")
    assert run(film, model, expert, *arguments) == 0
    report = json.loads((model / "train_expert.json").read_text())
    assert report["device"] == torch.cuda.get_device_name() and report["peak_gpu_memory_mib"] is not None
    assert all(value.isfinite().all() for value in reloaded(expert, model).values() if value.is_floating_point())
    (model / "train_expert.json").unlink()
    assert run(film, model, expert, "--resume", *arguments) == 0  # only the report is left to do
    again = json.loads((model / "train_expert.json").read_text())
    assert again["scores"]["psnr"] == pytest.approx(report["scores"]["psnr"], abs=1e-3)
