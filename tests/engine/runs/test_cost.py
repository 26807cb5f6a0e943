"""Costs of commands, known before they decode: exact where they can be, else near what was measured."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.runs.cost
import engine.runs.trial
from engine.runs.cost import (
    RAY_BYTES,
    Cost,
    expert_bytes,
    expert_cost,
    log_cost,
    rendering_cost,
    router_cost,
    waiting_bytes,
    working_bytes,
)
from engine.runs.device import CPU, CUDA, ComputeDevice, free_memory
from engine.runs.run import Run
from engine.runs.trial import BlackFrames, WorkTime, must_decode, seconds_a_step
from experts import EXPERTS
from router import ENSEMBLES
from scenes.frames.read_ahead import slots_of
from scenes.types import FramesOnDisk, FrameStore
from tests.small_world import FRAMES, GAUSSIANS, HEIGHT, WIDTH, random_scene, small_run

IMAGE = WIDTH * HEIGHT
ON_CPU = ComputeDevice(device=CPU, backend="auto")


class OnDisk(FrameStore):
    """Frames of which half is decoded."""

    def read(self, view, frame):
        raise AssertionError("no frame is read for a cost")

    def on_disk(self, views):
        count = len(list(views))
        return FramesOnDisk(
            folder=Path("data/frame_cache"),
            cached_bytes=count * 10**9,
            missing_bytes=count * 2 * 10**9,
            decoding_seconds=count * 600.0,
            free_bytes=120 * 10**9,
        )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(engine.runs.cost, "usable_cores", lambda: 4)
    run = small_run(tmp_path)
    return replace(run, scene=replace(run.scene, frames=OnDisk()))


def models(run: Run) -> tuple[int, int]:
    """Bytes of the router's and of the experts' tensors, counted by hand."""
    rows = sum(expert.num_gaussians for expert in run.experts)
    head = sum(value.numel() for value in run.router.head.parameters())
    per_gaussian = 3 + 3 + 3 + 4 + 1 + 3  # means, drift, scales, quats, opacity, colour
    return 4 * (3 * rows + head), 4 * (per_gaussian * rows + 6 * len(run.experts))


def working(run: Run, *, cameras: int, training: bool) -> int:
    counts = [expert.num_gaussians for expert in run.experts]
    return cameras * RAY_BYTES * IMAGE + working_bytes(pixels=IMAGE, gaussians=counts, training=training)


def test_the_cost_of_a_routers_training(run, tmp_path):
    router, experts = models(run)
    copied = tmp_path / "copied.ply"
    copied.write_bytes(bytes(1000))
    files, results = [copied, tmp_path / "gone"], tmp_path / "none" / "yet"
    cost = router_cost(run, results=results, iterations=7, saves=2, copied=files)
    assert cost.results_bytes == 2 * router + 2 * router + 1000  # two checkpoints, one state of two moments
    assert cost.disk_bytes == 6 * 10**9 + cost.results_bytes
    assert (cost.free_bytes, cost.frames.cached_bytes) == (120 * 10**9, 3 * 10**9)
    assert cost.results_free_bytes > 0
    assert cost.decoding_seconds == 3 * 600 / 4
    assert (cost.device_bytes, cost.device_free_bytes) == (None, None)
    assert cost.gaussians is None
    assert cost.host_bytes == 7 * 3 * 4 * IMAGE + 4 * router + experts + working(run, cameras=2, training=True)


def test_the_cost_of_a_rendering(run, tmp_path):
    router, experts = models(run)
    plain = rendering_cost(run, run.scene.test, results=tmp_path, pngs=False)
    pixels = FRAMES * IMAGE
    assert plain.results_bytes == round(0.03 * 7 * pixels)  # MoE, three experts and their weights
    assert plain.host_bytes == 3 * IMAGE + router + experts + working(run, cameras=1, training=False)
    assert plain.frames.missing_bytes == 2 * 10**9
    images = rendering_cost(run, run.scene.test, results=tmp_path, pngs=True)
    assert images.results_bytes == round((0.03 * 7 + 0.6 * (3 * 5 + 3)) * pixels)
    novel = rendering_cost(run, run.scene.test, results=tmp_path, pngs=True, scored=False)
    assert novel.results_bytes == round((0.03 * 7 + 0.6 * (3 * 4 + 3)) * pixels)
    assert novel.frames.missing_bytes == 0


def of_expert(run: Run, compute: ComputeDevice, results: Path, **changed) -> Cost:
    spec = EXPERTS["E-D3DGS"]
    recipe = spec.training.presets["n3v"].recipe
    density = replace(recipe.density, max_gaussians=changed.pop("max_gaussians", None))
    recipe = replace(recipe, batch=changed.pop("batch", 2), density=density)
    values = {"models": 1, "gaussians": 60} | changed
    return expert_cost(run.scene, compute, spec, recipe, results=results, **values)


def test_the_cost_of_an_expert(run, tmp_path):
    cost = of_expert(run, ON_CPU, tmp_path)
    assert cost.results_bytes is None and cost.disk_bytes == 6 * 10**9
    images = 16 * 3 * 4 * IMAGE
    assert cost.gaussians == 200_000, "as many as trainings without a limit had"
    assert cost.host_bytes == images + 70 * 2**20 + 186 * IMAGE + 10_400 * 200_000
    limited = of_expert(run, ON_CPU, tmp_path, models=2, max_gaussians=1000)
    assert limited.results_bytes == 2 * 1000 * 400 * 5
    assert limited.host_bytes == images + 70 * 2**20 + 186 * IMAGE + 10_400 * 1000
    assert of_expert(run, ON_CPU, tmp_path, gaussians=300_000).gaussians == 300_000


def test_the_gaussians_of_freetime_are_those_of_the_pixels(run, tmp_path):
    recipe = EXPERTS["FreeTime"].training.presets["n3v"].recipe
    cost = expert_cost(run.scene, ON_CPU, EXPERTS["FreeTime"], recipe, results=tmp_path, models=1)
    assert cost.gaussians == round(0.65 * IMAGE)


N3V_SIZE, DOME_SIZE = 1345 * 1008, 640 * 360


def trainings() -> list[tuple[str, int, int, int]]:
    """Expert, pixels, Gaussians and MiB of the trainings in docs/dev/expert_training.md whose Gaussians only grew."""
    page = (Path(__file__).parents[3] / "docs" / "dev" / "expert_training.md").read_text(encoding="utf-8")
    n3v = r"^\| ([\w-]+)(?:, a segment)? \| ([\d,]+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| (\d+) \|"
    dome = r"^\| ([\w-]+)(?:, frames [\d-]+)?, \d \| ([\d,]+), [\d,]+ \|.*\| (\d+) \|$"
    rows = []
    for pixels, row in ((N3V_SIZE, n3v), (DOME_SIZE, dome)):
        found = re.findall(row, page, re.MULTILINE)
        rows += [(name, pixels, int(count.replace(",", "")), int(mebibytes)) for name, count, mebibytes in found]
    freetime = r"^\| [a-z_]+, (?:\d+ frames, )?(\d+)x(\d+) \| ([\d,]+) \| (\d+) \|$"
    rows += [
        ("FreeTime", int(width) * int(height), int(count.replace(",", "")), int(mebibytes))
        for width, height, count, mebibytes in re.findall(freetime, page, re.MULTILINE)
    ]
    assert len(rows) == 4 + 7 + 5
    return rows


@pytest.mark.parametrize("row", trainings(), ids=str)
def test_estimates_are_near_the_memory_that_trainings_took(row):
    name, pixels, gaussians, mebibytes = row
    about = expert_bytes(EXPERTS[name], pixels=pixels, gaussians=gaussians)
    assert about / 2**20 == pytest.approx(mebibytes, rel=1 / 4)


def test_memory_of_the_footage_does_not_depend_on_its_length(tmp_path):
    scene = random_scene(tmp_path)
    longer = replace(scene, num_frames=300)
    assert waiting_bytes(scene, images=16, gpu=True) == waiting_bytes(longer, images=16, gpu=True) == 16 * 3 * IMAGE
    tight = replace(scene, memory_mb=0)
    assert waiting_bytes(tight, images=16, gpu=False) == slots_of(tight, gpu=False) * 4 * 3 * IMAGE == 4 * 3 * IMAGE


def measurements() -> list[tuple[str, ...]]:
    """Rows of the table of GPU memory in docs/dev/training_step.md."""
    page = (Path(__file__).parents[3] / "docs" / "dev" / "training_step.md").read_text(encoding="utf-8")
    row = r"^\| (E\w+) \| ([\d,]+) \| (\d+)x(\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$"
    rows = re.findall(row, page, re.MULTILINE)
    assert len(rows) == 8
    return rows


@pytest.mark.parametrize("row", measurements(), ids=" ".join)
def test_estimates_are_near_the_memory_that_was_measured(row):
    ensemble, gaussians, width, height, *memory = row
    experts, router, trained, rendered = map(int, memory)
    pixels, counts = int(width) * int(height), [int(gaussians.replace(",", ""))] * len(ENSEMBLES[ensemble].experts)
    rays = 4 * RAY_BYTES * pixels
    for measured, training, copies in ((trained, True, 4), (rendered, False, 1)):
        working = working_bytes(pixels=pixels, gaussians=counts, training=training)
        assert (working + rays) / 2**20 + experts + copies * router == pytest.approx(measured, rel=1 / 6)


def costing(**changed) -> Cost:
    values = {
        "frames": OnDisk().on_disk(range(2)),
        "results_bytes": 5 * 10**7,
        "results_free_bytes": 70 * 10**9,
        "host_bytes": 5 * 10**8,
        "device_bytes": 26 * 10**8,
        "device_free_bytes": 80 * 10**9,
        "cores": 16,
    }
    return Cost(**{**values, **changed})


def test_costs_are_told_in_lines():
    assert costing().lines() == (
        "frames: 2.0 GB in the cache, 4.0 GB to decode to data/frame_cache (120.0 GB free), about 75 s on 16 cores",
        "results: about 50.0 MB (70.0 GB free)",
        "memory: about 500.0 MB of host memory, about 2.6 GB of GPU memory (80.0 GB free)",
    )
    done = FramesOnDisk(folder=Path("cache"), cached_bytes=10**9, free_bytes=2 * 10**9)
    time = WorkTime(work="training", step="iteration", count=40_000, seconds_each=0.0112, note=" with 7 Gaussians")
    assert costing(frames=done, results_bytes=None, gaussians=470_000, time=time).lines() == (
        "frames: 1.0 GB in the cache, 0.0 MB to decode to cache (2.0 GB free)",
        "results: size not known beforehand (70.0 GB free)",
        "memory: about 500.0 MB of host memory, about 2.6 GB of GPU memory, at 470,000 Gaussians (80.0 GB free)",
        "time: training takes about 7 min (40,000 iterations of 11.2 ms, by a trial on this machine with 7 Gaussians)",
    )
    slow = WorkTime(work="scoring", step="frame", count=1, seconds_each=100)
    assert slow.line == "scoring takes about 2 min (1 frame of 100.0 s, by a trial on this machine)"
    on_cpu = costing(device_bytes=None, device_free_bytes=None)
    assert on_cpu.lines()[2] == "memory: about 500.0 MB of host memory"
    grown = "memory: about 500.0 MB of host memory, at 2,000 Gaussians"
    assert replace(on_cpu, gaussians=2000).lines()[2] == grown


def test_costs_are_logged_with_warnings_of_what_is_too_small(caplog):
    caplog.set_level(logging.INFO)
    log_cost(costing())
    assert [record.levelname for record in caplog.records] == ["INFO"] * 3
    assert caplog.messages[2] == "decoding takes about 75 s on 16 cores"
    caplog.clear()
    log_cost(costing(frames=FramesOnDisk(), device_free_bytes=10**9, results_free_bytes=10**7))
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING", "WARNING"]
    assert caplog.messages[2:] == [
        "GPU memory: about 2.6 GB needed, 1.0 GB free; end other work on the GPU, or use a lower --resolution",
        "disk of the results: about 50.0 MB needed, 10.0 MB free; free space, or choose another folder",
    ]


def test_free_memory_of_a_gpu_is_what_is_free_and_what_pytorch_holds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    assert free_memory(CUDA) == 5700
    assert free_memory(CPU) is None


def test_a_gpu_has_a_cost_of_its_own(run, tmp_path, monkeypatch):
    monkeypatch.setattr(engine.runs.cost, "free_memory", lambda device: 10**6)
    on_gpu = ComputeDevice(device=CUDA, backend="cuda")
    cost = of_expert(run, on_gpu, tmp_path, batch=1, max_gaussians=1000)
    assert cost.host_bytes == 8 * 3 * IMAGE and cost.device_free_bytes == 10**6
    assert cost.device_bytes == 70 * 2**20 + 186 * IMAGE + 10_400 * 1000


def test_gaussians_of_the_small_world_are_counted(run):
    assert sum(expert.num_gaussians for expert in run.experts) == 4 * GAUSSIANS


def test_a_step_is_timed_by_its_median_after_one_that_warms_up(monkeypatch):
    clock = iter([0, 1, 10, 10.5, 20, 20.25, 30, 33])
    monkeypatch.setattr(engine.runs.trial.time, "perf_counter", lambda: next(clock))
    steps = []
    assert seconds_a_step(lambda: steps.append(0), ON_CPU) == 0.5 and len(steps) == 4
    monkeypatch.setattr(engine.runs.trial.time, "perf_counter", iter([0, 5]).__next__)
    assert seconds_a_step(lambda: steps.append(0), ON_CPU) == 5 and len(steps) == 5, "a long one is not repeated"


def test_steps_of_a_gpu_are_timed_ten_at_a_time(monkeypatch):
    clock = iter([0, 1, 10, 15, 20, 22, 30, 60])
    monkeypatch.setattr(engine.runs.trial.time, "perf_counter", lambda: next(clock))
    waits, steps = [], []
    monkeypatch.setattr(engine.runs.trial, "wait", waits.append)
    assert seconds_a_step(lambda: steps.append(0), ComputeDevice(device=CUDA, backend="cuda")) == 0.5
    assert len(steps) == 31 and len(waits) == 8


def test_black_frames_stand_in_for_those_to_decode(run):
    assert must_decode(run.scene, run.scene.test)
    black = BlackFrames(run.scene)
    assert not must_decode(replace(run.scene, frames=black), run.scene.test) and not black.were_read
    image = black.read(1, 0)
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == "uint8" and not image.any() and black.were_read
