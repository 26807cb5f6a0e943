"""The times of frames and training steps with and without each idea, and the price of networks in fewer bits."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import engine.training.router.schedule
import experts.stg.model
import losses.photometric_loss
import router.mixing
from benchmarks.realtime import command, precision, times, upstream_way
from benchmarks.realtime.ideas import IDEAS, choices
from benchmarks.realtime.upstream_way import upstream_frame
from benchmarks.workload import Workload, random_run
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import CPU, ComputeDevice
from engine.runs.run import mix_view
from router import ENSEMBLES

COMPUTE = ComputeDevice(device=CPU, backend="auto")


def small_run():
    run = random_run(Workload(gaussians=40, width=32, height=24, seed=0), ENSEMBLES["E4"], COMPUTE)
    return replace(run, scene=replace(run.scene, num_frames=2))


def test_every_idea_has_its_times_and_exact_ones_the_same_image():
    run = small_run()
    before = [parameter.clone() for parameter in run.router.parameters()]
    rows = list(command.idea_rows(run, 1))
    assert [row[0] for row in rows] == [idea.name for idea in IDEAS]
    for idea, row in zip(IDEAS, rows, strict=True):
        assert (float(row[2]) > 0) if idea.frame else row[1:5] == [""] * 4
        assert (float(row[6]) > 0) if idea.step else row[5:] == [""] * 2
        if idea.frame:
            assert (row[4] == "same bits") == (idea.precision != "float16")
    assert all(torch.equal(a, b) for a, b in zip(before, run.router.parameters(), strict=True))


def test_single_models_have_their_times():
    rows = list(command.single_rows(small_run()))
    assert len(rows) == 10 and all(float(row[2]) > 0 and row[4] == "same bits" for row in rows)


def test_the_stages_of_a_step_are_told():
    lines = times.step_stages(small_run(), 2).splitlines()
    stages = [line.split("  ")[0] for line in lines]
    assert {"STG: Gaussians of the frame", "router head and blend", "loss", "update", "total"} <= set(stages)


def test_an_idea_is_without_the_kernels_that_it_does_not_name(monkeypatch):
    monkeypatch.setattr(router.mixing, "has_gates_kernel", lambda *_: True)
    monkeypatch.setattr(losses.photometric_loss, "has_loss_kernel", lambda *_: True)
    monkeypatch.setattr(experts.stg.model, "has_motion_kernel", lambda *_: True)
    fused = engine.training.router.schedule.FusedRAdam
    for idea in IDEAS:
        with choices(idea):
            assert router.mixing.has_gates_kernel() == ("gates" in idea.fused)
            assert losses.photometric_loss.has_loss_kernel() == ("loss" in idea.fused)
            assert experts.stg.model.has_motion_kernel() == ("motion" in idea.fused)
            assert (engine.training.router.schedule.FusedRAdam is fused) == ("radam" in idea.fused)
    assert router.mixing.has_gates_kernel()


def test_what_was_measured_before_an_error_is_printed(monkeypatch, capsys):
    def broken(run, idea):
        if idea.kept:
            raise RuntimeError("out of memory")
        return [1.0, 2.0, 4.0], torch.zeros(3, 2, 2)

    monkeypatch.setattr(command, "frame_times", broken)
    monkeypatch.setattr(command, "step_milliseconds", lambda *_: 7.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        command.main(["--device", "cpu", "--gaussians", "40", "--width", "32", "--height", "24"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["baseline", "9.1", "2.00", "(1.00-4.00)", "same", "bits", "11.4", "7.00"]


def test_fewer_bits_have_a_price_beside_the_demos_true_images():
    lines = precision.precision_table(COMPUTE, precisions=("float16",), step=15)
    rows = [line.split() for line in lines[1:]]
    assert [row[:2] for row in rows] == [["E-D3DGS", "float16"], ["4DGaussians", "float16"]]
    for row in rows:
        assert 15 < float(row[2]) < 40 and abs(float(row[3])) < precision.MOST_LOST and 40 < float(row[-2]) < 100


def test_upstreams_way_gives_the_mixture_of_its_tile_rule():
    run = replace(small_run(), tile_rule="inria")
    (row,) = command.upstream_rows(run, Workload(gaussians=40, width=32, height=24, seed=0))
    assert row[0] == "upstream's way, our kernels" and float(row[2]) > 0
    found, wanted = upstream_frame(run, 1), mix_view(run, 0, 1).image
    assert psnr(found, wanted) > 40  # weights of Ex4DGS and STG are splatted by another convention


def test_the_other_process_tells_its_times(capsys):
    assert upstream_way.main(["--device=cpu", "--gaussians=40", "--width=32", "--height=24", "--frames=2"]) == 0
    milliseconds = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(milliseconds) == 6 and min(milliseconds) > 0
