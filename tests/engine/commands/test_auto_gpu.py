from __future__ import annotations

import numpy as np
import pytest

import moegs
from tests.engine.expert_scene import write_film

pytestmark = pytest.mark.cuda


def test_a_plan_on_a_gpu_stays_below_its_memory(tmp_path, capsys):
    film = write_film(tmp_path)
    places = np.random.default_rng(0).uniform((-1, -1, 3), (1, 1, 6), (60, 3)).astype(np.float32)
    np.savez(film / "known_points.npz", xyz=places, rgb=np.full((60, 3), 0.5, np.float32))
    words = ["auto", str(film), f"--output={tmp_path / 'out'}", "--plan"]
    assert moegs.main([*words, "--budget=2h,1GB"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split()[0] == "all" and 0 <= float(last.split()[2]) <= 1
    assert moegs.main([*words, "--budget=2h,0.01GB"]) == 2
    assert "the budget is too small for any expert" in capsys.readouterr().err
