"""The profile of a training step: time is found where it is spent, and looking changes nothing."""

from __future__ import annotations

import time
from importlib import import_module

import pytest
import torch

from benchmarks import training_step as profile
from benchmarks.random_run import Workload, random_run
from benchmarks.stages import (
    BACKWARD,
    BACKWARD_RASTERIZE,
    DATA,
    L1,
    OPTIMISER,
    RASTERIZE,
    ROUTER,
    SSIM,
    Timeline,
    instrumented,
    stages,
)
from engine.runs.device import CPU, ComputeDevice
from engine.runs.run import Run
from engine.settings.run import TrainingConfig
from engine.training.router_optimiser import make_optimiser
from engine.training.router_steps import training_steps
from router import ENSEMBLES
from tests.small_world import small_run

SIZE = ["--gaussians", "60", "--width", "24", "--height", "16", "--iterations", "2"]
DELAY = 0.1  # seconds


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(profile, "WARM_UP", 1)
    monkeypatch.setattr(profile, "TRACED", 1)


def command(*arguments: str) -> int:
    return profile.command([*SIZE, *arguments], prog="moegs.py profile-step", description="")


@pytest.mark.parametrize("ensemble", list(ENSEMBLES))
def test_every_stage_has_a_line_and_the_total_is_their_sum(ensemble, capsys):
    assert command("--device=cpu", "--backend=torch", "--ensemble", ensemble) == 0
    table, operators = capsys.readouterr().out.split("\n\n")
    lines = table.splitlines()[2:]
    names = [f"{name} at a frame" for name in ENSEMBLES[ensemble].experts]
    assert [line[:30].strip() for line in lines[1 : len(names) + 1]] == names and len(lines) == len(names) + 10
    spent = [float(line[30:40]) for line in lines]
    assert min(spent) >= 0 and max(spent) == spent[-1] > 0
    # of two iterations the medians are the means, and rounded to 0.01
    assert spent[-1] == pytest.approx(sum(spent[:-1]), abs=0.005 * len(spent))
    assert len(operators.splitlines()) == 1 + profile.LONGEST and "aten::" in operators


def test_words_that_make_no_sense_are_refused():
    with pytest.raises(profile.ConfigError, match="--gaussians is 0: give 1 or more"):
        command("--gaussians=0")


class SlowBackward(torch.autograd.Function):
    """Nothing but a delay on the way back."""

    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        time.sleep(DELAY)
        return gradient


def slow_backward(call):
    """A rasterizer with a slow backward pass: its first layer's features take the delay along."""

    def delayed(layers, *args, **kwargs):
        first = layers[0]
        slowed = type(first)(
            gaussians=first.gaussians,
            settings=first.settings,
            background=first.background,
            features=SlowBackward.apply(first.features),
        )
        return call([slowed, *layers[1:]], *args, **kwargs)

    return delayed


def slow(call):
    def delayed(*args, **kwargs):
        time.sleep(DELAY)
        return call(*args, **kwargs)

    return delayed


CASES = {
    DATA: ("scenes.frames.prefetch", "Prefetcher.__next__", slow),
    RASTERIZE: ("router.router", "rasterize", slow),
    ROUTER: ("router.router", "blend", slow),
    L1: ("engine.training.router_steps", "photometric", slow),
    SSIM: ("losses.photometric_loss", "ssim", slow),
    BACKWARD_RASTERIZE: ("router.router", "rasterize", slow_backward),
    OPTIMISER: ("torch.optim", "RAdam.step", slow),
}


@pytest.mark.parametrize("stage", [*CASES, "E-D3DGS at a frame", BACKWARD])
def test_time_is_found_in_the_stage_that_spends_it(stage, tmp_path, monkeypatch):
    run = small_run(tmp_path)
    if stage in CASES:
        module, name, wrap = CASES[stage]
        owner = import_module(module)
        *parents, name = name.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))
    elif stage == BACKWARD:
        run.router.head.mlp1.weight.register_hook(lambda gradient: time.sleep(DELAY))
    else:
        expert = run.experts[1]
        monkeypatch.setattr(expert, "at", slow(expert.at))
    (spent,) = profile.time_stages(run, iterations=1, seed=0)
    assert set(spent) == set(stages(run))
    assert max(spent, key=lambda name: spent[name].device) == stage
    assert spent[stage].host == spent[stage].device >= 1000 * DELAY


def test_looking_changes_no_bit_and_leaves_nothing_behind(tmp_path):
    plain, watched = small_run(tmp_path), small_run(tmp_path)
    seams = [(import_module(module), name) for module, name, _ in CASES.values() if "." not in name]
    before = [getattr(module, name) for module, name in seams]
    profile.time_stages(watched, iterations=3, seed=0)
    training = TrainingConfig(iterations=profile.WARM_UP + 3, seed=0)
    for _ in training_steps(plain, make_optimiser(plain.router, training), training):
        pass
    for ours, theirs in zip(watched.router.parameters(), plain.router.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert [getattr(module, name) for module, name in seams] == before
    assert all("at" not in vars(expert) for expert in watched.experts)


def test_an_error_leaves_nothing_behind(tmp_path):
    run = small_run(tmp_path)
    mix, optimiser = (
        import_module("engine.training.router_steps").mix_camera,
        make_optimiser(run.router, TrainingConfig()),
    )
    with pytest.raises(KeyboardInterrupt), instrumented(run, optimiser, Timeline(CPU)):
        raise KeyboardInterrupt
    assert import_module("engine.training.router_steps").mix_camera is mix and "at" not in vars(run.experts[0])
    assert not optimiser._optimizer_step_pre_hooks


def test_kernels_of_which_nothing_was_recorded(tmp_path):
    assert "recorded nothing" in profile.kernel_table(small_run(tmp_path), [], total=1.0)


def test_random_experts_are_seen_and_repeat():
    def run(seed: int) -> Run:
        workload = Workload(gaussians=400, width=64, height=48, seed=seed)
        return random_run(workload, ENSEMBLES["E4"], ComputeDevice(device=CPU, backend="torch"))

    first, again, other = run(0), run(0), run(1)
    assert [expert.name for expert in first.experts] == list(ENSEMBLES["E4"].experts)
    camera = first.scene.views[0].camera
    for one, same, different in zip(first.experts, again.experts, other.experts, strict=True):
        means = one.at(150, camera=1).means
        assert torch.equal(means, same.at(150, camera=1).means)
        assert not torch.equal(means, different.at(150, camera=1).means)
        matrix = camera.world_to_camera
        x, y, depth = (means @ matrix[:3, :3].T + matrix[:3, 3]).unbind(1)
        across, down = camera.fx * x / depth + camera.cx, camera.fy * y / depth + camera.cy
        inside = (depth > 4) & (across > 0) & (across < 64) & (down > 0) & (down < 48)
        assert one.num_gaussians == 400 and inside.float().mean() > 0.7  # seen: 0.86


@pytest.mark.cuda
def test_on_a_gpu_the_kernels_are_listed_too(capsys):
    assert command("--device=cuda") == 0
    out = capsys.readouterr().out
    assert "host ms" in out and "GPU busy" in out and "kernel, an iteration" in out
