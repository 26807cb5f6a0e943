"""The benchmark of networks times both experts, with all Gaussians shown and with some."""

from __future__ import annotations

import torch

from benchmarks import network_step


def test_a_row_for_each_expert_and_share(capsys):
    assert network_step.main(["--device", "cpu", "--gaussians", "40", "--shown", "0.5", "--repeats", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        [name, "float32", share] for name in network_step.NAMES for share in ("100%", "50%")
    ]
    assert all(float(row[3]) > 0 for row in rows)


def test_what_is_not_shown_has_no_gradients():
    assert network_step._weights(torch.zeros(20, 3), 0.3).any(1).nonzero().flatten().tolist() == [0, 1, 2, 10, 11, 12]
