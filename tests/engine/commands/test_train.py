from __future__ import annotations

import json
import math
import signal
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError

import engine.runs.scene
import engine.training.router.task
from engine.commands import train
from engine.errors import ConfigError
from engine.runs.saved.checkpoint import TENSORS, saved_iterations
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.router.schedule import make_optimiser, set_router_rates
from router import Router
from tests.engine.training.test_router_training import train_alone
from tests.small_world import FRAMES, small_run, use_small_world, without_verdict


@pytest.fixture
def arguments(tmp_path, monkeypatch) -> list[str]:
    return [*use_small_world(monkeypatch, tmp_path), f"--save_path={tmp_path / 'out'}"]


def test_a_run_leaves_settings_saves_and_evaluations(tmp_path, arguments):
    flags = ["--backend", "torch", "--iterations", "5", "--save_iterations", "2", "--test_frames", "2"]
    assert train.main("E3", [*arguments, *flags]) == 0
    out = tmp_path / "out"
    settings = json.loads((out / "config.json").read_text())
    assert (settings["iterations"], settings["backend"]) == (5, "torch")
    assert saved_iterations(out) == (2, 5)
    report = json.loads((out / "test" / "itrs_5" / "metrics.json").read_text())
    assert (report["cameras"], report["frames"]) == (["cam00"], [0, 2])
    assert set(report["means"]) >= {"MoE", "Ex4DGS", "E-D3DGS", "4DGaussians"}
    assert (out / "test" / "itrs_5" / "videos" / "video_MoE.mp4").is_file()
    assert not list(out.rglob(".*"))


def test_the_last_update_is_taken_and_the_save_comes_after_it(tmp_path, arguments):
    quick = ["--test_iterations", "--save_iterations", "1", "2"]
    assert train.main("E3", [*arguments, *quick, "--iterations", "2"]) == 0
    second = (tmp_path / "out" / "router" / "iteration_2" / TENSORS).read_bytes()
    assert second != (tmp_path / "out" / "router" / "iteration_1" / TENSORS).read_bytes()
    assert train.main("E3", [*arguments, *quick, "--iterations", "3", "--overwrite"]) == 0
    assert (tmp_path / "out" / "router" / "iteration_2" / TENSORS).read_bytes() == second


def test_an_interrupt_during_evaluation_saves_at_once(tmp_path, arguments, monkeypatch):
    monkeypatch.setattr(
        engine.training.router.task, "evaluate_mixture", lambda *args, **options: signal.raise_signal(signal.SIGTERM)
    )
    nine = ["--iterations", "9", "--test_iterations", "3", "--save_iterations"]
    assert train.main("E3", [*arguments, *nine]) == 130
    assert saved_iterations(tmp_path / "out") == (3,)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_error_on_the_way_saves_before_it_ends_the_run(tmp_path, arguments, monkeypatch, capsys):
    def fails(*args, **options):
        raise ConfigError("no room for videos")

    monkeypatch.setattr(engine.training.router.task, "evaluate_mixture", fails)
    assert train.main("E3", [*arguments, "--iterations", "9", "--test_iterations", "3", "--save_iterations"]) == 2
    assert without_verdict(capsys.readouterr().err) == "error: no room for videos\n"
    assert saved_iterations(tmp_path / "out") == (3,)


def test_a_router_that_is_not_finite_is_never_saved(tmp_path, arguments, monkeypatch, capsys):
    assert train.main("E3", [*arguments, "--iterations", "1", "--test_iterations", "--featuret_lr", "inf"]) == 2
    assert "holds values that are not finite after iteration 1, which is not saved" in capsys.readouterr().err

    def spoils(run, **options):
        run.router.head.mlp3.weight.fill_(math.nan)
        raise ConfigError("no room for videos")

    monkeypatch.setattr(engine.training.router.task, "evaluate_mixture", torch.no_grad()(spoils))
    assert train.main("E3", [*arguments, "--iterations", "9", "--test_iterations", "3", "--save_iterations"]) == 2
    assert without_verdict(capsys.readouterr().err) == "error: no room for videos\n"
    assert saved_iterations(tmp_path / "out") == ()


def test_a_fault_that_the_gpu_finds_late_keeps_the_save_from_being_written(tmp_path, arguments, monkeypatch, capsys):
    def found_late(compute):
        raise RasterizerError("layer 1: opacities has 2 NaN or infinite values")

    monkeypatch.setattr(engine.training.router.task, "wait", found_late)
    assert train.main("E3", [*arguments, "--iterations", "2", "--test_iterations"]) == 2
    assert without_verdict(capsys.readouterr().err) == "error: layer 1: opacities has 2 NaN or infinite values\n"
    assert saved_iterations(tmp_path / "out") == ()


def test_a_failed_start_leaves_the_folder_free(tmp_path, arguments, monkeypatch):
    def fails(source, options):
        raise ConfigError("no scene")

    with monkeypatch.context() as patch:
        patch.setattr(engine.runs.scene, "load_scene", fails)
        assert train.main("E3", [*arguments, "--iterations", "1"]) == 2
    assert train.main("E3", [*arguments, "--iterations", "1", "--test_iterations"]) == 0


def test_only_the_router_learns(tmp_path):
    run, training = small_run(tmp_path), TrainingConfig(iterations=6, featuret_lr=0.5, feature_lr=0.05, rgb_lr=0.05)
    experts = [expert.means.clone() for expert in run.experts]
    before = {name: value.clone() for name, value in run.router.state_dict().items()}
    train_alone(run, training)
    assert all(torch.equal(old, expert.means) for old, expert in zip(experts, run.experts, strict=True))
    assert all(not torch.equal(value, before[name]) for name, value in run.router.state_dict().items())
    assert {expert.cameras[-1] for expert in run.experts} <= {1, 2}


def test_a_loss_that_is_not_finite_ends_the_run_and_says_where(tmp_path):
    run, training = small_run(tmp_path), TrainingConfig(iterations=2)
    with torch.no_grad():
        run.router.head.mlp3.weight.fill_(math.nan)
    with pytest.raises(ConfigError, match=r"the loss is nan at iteration 1 \(cam0\d, frame \d\): lower the learning"):
        train_alone(run, training)


def test_rates_follow_the_schedule_of_the_released_code():
    training = TrainingConfig(featuret_lr=0.5, feature_lr=0.05, rgb_lr=0.03)
    optimiser = make_optimiser(Router(["A"], [2]), training)
    rates = {}
    for step in (1, 5000, 10_000, 20_000):
        set_router_rates(optimiser, training, step)
        rates[step] = {group["name"]: group["lr"] for group in optimiser.param_groups}
    assert rates[1]["static"] == pytest.approx(0.5 * 0.01 ** (1 / 10_000))
    assert [rates[step]["static"] for step in (5000, 10_000, 20_000)] == pytest.approx([0.05, 0.005, 0.005])
    assert all((rate["temporal"], rate["head"]) == (0.05, 0.03) for rate in rates.values())


def test_test_frames_are_spread_evenly(tmp_path, arguments, monkeypatch):
    asked = []
    original = engine.training.router.task.evaluate_mixture

    def evaluate(run, **arguments):
        asked.append(arguments["options"].frames)
        return original(run, **arguments)

    monkeypatch.setattr(engine.training.router.task, "evaluate_mixture", evaluate)
    assert train.main("E3", [*arguments, "--iterations", "1", "--test_frames", "3"]) == 0
    assert asked == [[0, 1, 2]]
    assert train.main("E3", [*arguments, "--iterations", "1", "--test_frames", "99", "--overwrite"]) == 0
    assert asked[1] == list(range(FRAMES))


def test_defaults_of_training_and_router():
    training = RunConfig().training
    assert (training.iterations, training.lambda_dssim, training.lambda_gates) == (5000, 0.2, 0.01)
    assert (training.featuret_lr, training.feature_lr, training.rgb_lr) == (0.1, 0.01, 0.01)
    router = RunConfig().router
    assert (router.rgbfunction, router.init_mixprob, router.temperature) == ("sandwichlite", 0.9, 1.0)
    assert replace(RunConfig().data, resolution=-1) == RunConfig().data
