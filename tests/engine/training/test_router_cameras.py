"""The router at cameras that the experts did not see: what it draws, under which rules, and how the judge decides."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

import engine.runs.scene
import moegs
from engine.commands import render, train
from engine.runs.run import Run, mix_camera, mix_view
from engine.runs.saved.checkpoint import FACTS, STATE, TENSORS, checkpoint_folder
from engine.runs.saved.loading import load_run
from engine.settings.training.run import RunConfig, TrainingConfig
from engine.training.router.judge import judged, with_judgement
from engine.training.router.schedule import make_optimiser, router_pairs, training_pairs
from engine.training.router.task import RouterTask
from router.novel_views import NovelViews
from scenes import with_router_cameras
from tests.small_world import FRAMES, Images, random_scene, small_run, use_small_world

CAMERAS = 10  # nine of training, of which three may be the router's


def run_with(root, count: int) -> Run:
    return replace(small_run(root), scene=with_router_cameras(random_scene(root, cameras=CAMERAS), count))


def test_every_second_pair_is_at_a_camera_of_the_router():
    pairs = list(islice(router_pairs((1, 2, 3), (7, 8), 4, seed=5), 40))
    own = [pair for pair in pairs if pair[0] in (7, 8)]
    assert [view in (7, 8) for view, _ in pairs] == [False, True] * 20
    assert own == list(islice(training_pairs((7, 8), 4, seed=5), 20))
    assert sorted(own[:8]) == [(view, frame) for view in (7, 8) for frame in range(4)]


@pytest.mark.parametrize("start", [1, 2, 13])
def test_pairs_go_on_where_they_stopped(start: int):
    whole = list(islice(router_pairs((1, 2, 3), (7, 8), 4, seed=5), 40))
    assert list(islice(router_pairs((1, 2, 3), (7, 8), 4, seed=5, start=start), 40 - start)) == whole[start:]


def test_without_such_cameras_pairs_are_those_of_before():
    of_old = list(islice(training_pairs((1, 2), 3, seed=1, start=4), 9))
    assert list(islice(router_pairs((1, 2), (), 3, seed=1, start=4), 9)) == of_old


def test_experts_have_no_number_at_the_routers_cameras_and_the_judge_is_not_learned_from(tmp_path):
    run = run_with(tmp_path, 3)
    training = TrainingConfig(iterations=12)
    with RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training)) as task:
        for iteration in range(1, 13):
            for loss in task.losses(iteration):
                loss.backward()
            task.update(iteration)
    numbers = run.experts[0].cameras
    assert numbers[1::2] == [None] * 6
    others = {run.scene.views[view].number for view in run.scene.train}
    assert set(numbers[0::2]) <= others and not others & {run.scene.views[view].number for view in run.scene.router}
    views = {view for view, _ in islice(router_pairs(run.scene.train, run.scene.router[:-1], FRAMES, seed=0), 200)}
    assert views == {*run.scene.train, *run.scene.router[:2]}


def test_rules_for_novel_views_hold_at_the_routers_cameras_while_training(tmp_path, monkeypatch):
    seen = []
    import engine.runs.run as module

    original = module.mix
    monkeypatch.setattr(
        module, "mix", lambda *a, **o: seen.append((o["camera_number"], o["novel"])) or original(*a, **o)
    )
    rules = NovelViews(coverage_guard=True)
    run = replace(run_with(tmp_path, 2), novel=rules)
    training = TrainingConfig(iterations=2)
    with RouterTask(run, make_optimiser(run.router, training), RunConfig(training=training)) as task:
        for iteration in (1, 2):
            list(task.losses(iteration))
    assert seen[0][0] is not None and seen[1] == (None, rules)


def judged_world(root, share: float) -> Run:
    """The judge's frames are a known blend of the mixture and the mean, and noise that is at right angles to it."""
    run = run_with(root, 2)
    torch.manual_seed(3)
    with torch.no_grad():
        for table in run.router.features.static:
            table.add_(torch.randn_like(table))
    view, pixels = run.scene.router[-1], run.scene.frames.pixels.astype(np.float32) / 255
    for frame in range(FRAMES):
        shown = mix_view(run, view, frame)
        truth = (1 - share) * shown.image + share * shown.images.mean(0)
        pixels[view, frame] = truth.permute(1, 2, 0).numpy()
    return replace(run, scene=replace(run.scene, frames=Images(np.round(pixels * 255).astype(np.uint8))))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_judge_finds_the_share_of_the_mean_that_its_frames_have(tmp_path, share: float):
    found = judged(judged_world(tmp_path, share))
    assert found is not None and found.camera == "cam02" and found.frames == FRAMES
    assert found.towards_mean == pytest.approx(share, abs=0.01)
    assert found.shrunk >= max(found.mixture, found.mean)
    assert found.shrunk == pytest.approx(58.9, abs=0.6)  # 8 bits: 10 log10(12 x 255^2)


@pytest.mark.parametrize("rules", [NovelViews(), NovelViews(coverage_guard=True, fill_holes=True)])
def test_the_judges_psnr_is_that_of_the_images_under_all_rules(tmp_path, rules: NovelViews):
    run = replace(judged_world(tmp_path, 0.4), novel=rules)
    found = judged(run)
    view = run.scene.router[-1]
    for shown, value in ((run, found.mixture), (with_judgement(run, found), found.shrunk)):
        errors = [
            (
                mix_view(shown, view, frame).image
                - torch.from_numpy(run.scene.frames.read(view, frame)).permute(2, 0, 1) / 255
            )
            for frame in range(FRAMES)
        ]
        assert -10 * torch.stack(errors).square().mean().log10().item() == pytest.approx(value, abs=1e-3)


def test_a_share_beyond_the_line_is_clamped_and_no_judge_says_nothing(tmp_path):
    assert judged(judged_world(tmp_path, -0.5)).towards_mean == 0
    assert judged(judged_world(tmp_path, 1.5)).towards_mean == 1
    assert judged(run_with(tmp_path, 0)) is None


def test_shrunk_gates_are_between_the_routers_and_equal_ones_at_novel_views_alone(tmp_path):
    run = judged_world(tmp_path, 0.4)
    shrunk = replace(run, novel=replace(run.novel, towards_mean=0.25))
    held_out, trained = run.scene.test[0], run.scene.train[0]
    plain, other = mix_view(run, held_out, 1), mix_view(shrunk, held_out, 1)
    assert torch.allclose(other.gates, 0.75 * plain.gates + 0.25 / 3, atol=1e-6)
    assert torch.allclose(other.image, 0.75 * plain.image + 0.25 * plain.images.mean(0), atol=1e-6)
    assert torch.equal(mix_view(shrunk, trained, 1).image, mix_view(run, trained, 1).image)
    assert not torch.equal(
        mix_camera(shrunk, run.scene.views[trained].camera, 1).image, mix_view(run, trained, 1).image
    )


LAST = 21
QUICK = ["--iterations", str(LAST), "--save_iterations", "9", "--featuret_lr", "0.5", "--router_cameras", "3"]


def files(folder) -> dict[str, bytes]:
    saved = checkpoint_folder(folder)
    return {name: (saved / name).read_bytes() for name in (TENSORS, STATE)}


def test_a_run_keeps_its_judgement_and_results_state_it(tmp_path, monkeypatch, capsys):
    flags = use_small_world(monkeypatch, tmp_path, cameras=CAMERAS)
    flags.remove("--quiet")
    out, scene = tmp_path / "out", random_scene(tmp_path, cameras=CAMERAS)
    scene.frames.pixels[8] = 160  # the router learns from grey noise, and the judge sees a slightly lighter one
    monkeypatch.setattr(engine.runs.scene, "load_scene", lambda source, options: scene)
    assert train.main("E3", [*flags, *QUICK, "--cues=on", "--coverage_guard=off", f"--save_path={out}"]) == 0
    log = capsys.readouterr().err
    facts = json.loads((checkpoint_folder(out) / FACTS).read_text())
    judge = facts["judge"]
    assert judge["camera"] == facts["scene"]["router"][-1] and 0 < judge["towards_mean"] < 1
    assert (
        f"the judge {judge['camera']}: mixture {judge['mixture']:.2f} dB, mean {judge['mean']:.2f} dB, shrunk by" in log
    )
    results = out / "test" / f"itrs_{LAST}" / "metrics.json"
    trained = json.loads(results.read_text())
    assert trained["towards_mean"] == judge["towards_mean"] and trained["judge"] == judge
    assert trained["router_cameras"] == facts["scene"]["router"]
    assert load_run(out).novel.towards_mean == judge["towards_mean"]
    assert load_run(out, iteration=9).novel.towards_mean != judge["towards_mean"]
    assert moegs.main(["verify", str(out), "--quiet"]) == 0
    assert render.main("E3", [f"--save_path={out}", "--skip_train", "--quiet", "--towards_mean=0"]) == 0
    plain = json.loads(results.read_text())
    assert plain["towards_mean"] == 0 and plain["means"]["MoE"] != trained["means"]["MoE"]
    assert moegs.main(["verify", str(out), "--quiet"]) == 0
    assert moegs.main(["verify", str(out), "--towards_mean=0.5"]) == 2
    assert "--towards_mean is that of the results" in capsys.readouterr().err


def test_a_stopped_run_continues_to_the_same_bits(tmp_path, monkeypatch):
    flags = [*use_small_world(monkeypatch, tmp_path, cameras=CAMERAS), *QUICK, "--cues=on", "--test_iterations"]
    assert train.main("E3", [*flags, f"--save_path={tmp_path / 'whole'}"]) == 0
    halves = [*flags, f"--save_path={tmp_path / 'halves'}"]
    assert train.main("E3", [*halves, "--iterations=8"]) == 0
    assert train.main("E3", [*halves, "--resume"]) == 0
    assert files(tmp_path / "halves") == files(tmp_path / "whole")


def test_a_checkpoint_of_before_has_no_cues_and_no_judge_and_goes_on(tmp_path, monkeypatch):
    flags = [*use_small_world(monkeypatch, tmp_path), "--iterations=2", "--test_iterations"]
    out = tmp_path / "out"
    assert train.main("E3", [*flags, f"--save_path={out}"]) == 0
    path = checkpoint_folder(out) / FACTS
    facts = json.loads(path.read_text())
    del facts["hash"]
    assert facts.pop("cues") is False and facts.pop("judge") is None and facts["scene"].pop("router") == []
    path.write_text(json.dumps(facts))
    config = json.loads((out / "config.json").read_text())
    for name in ("router_cameras", "cues", "cue_lr"):
        del config[name]
    (out / "config.json").write_text(json.dumps(config))
    run = load_run(out)
    assert run.router.cues is None and run.judgement is None and run.scene.router == ()
    assert run.novel.towards_mean == 0
    assert train.main("E3", [f"--save_path={out}", "--resume", "--quiet", "--iterations=3"]) == 0


def test_the_papers_layout_has_no_place_for_cues(tmp_path, monkeypatch, capsys):
    flags = [*use_small_world(monkeypatch, tmp_path), "--iterations=1", "--test_iterations", "--cues=on"]
    assert train.main("E3", [*flags, f"--save_path={tmp_path / 'out'}"]) == 0
    assert moegs.main(["export", str(tmp_path / "out"), f"--out={tmp_path / 'upstream'}"]) == 2
    assert "the paper's code has no --cues" in capsys.readouterr().err
    assert not (tmp_path / "upstream").exists()


def test_a_run_goes_on_with_its_own_cameras_and_cues_alone(tmp_path, monkeypatch, capsys):
    flags = [*use_small_world(monkeypatch, tmp_path, cameras=CAMERAS), *QUICK, f"--save_path={tmp_path / 'out'}"]
    assert train.main("E3", flags) == 0
    assert train.main("E3", [*flags, "--resume", "--router_cameras=2"]) == 2
    assert "train is " in capsys.readouterr().err
    assert train.main("E3", [*flags, "--resume", "--cues=on"]) == 2
    assert "was trained with --cues off; give the same, or --overwrite" in capsys.readouterr().err
    assert train.main("E3", [*flags, "--overwrite", "--router_cameras=4"]) == 2
    assert "at most a third may be left to the router; give 3 or less" in capsys.readouterr().err
