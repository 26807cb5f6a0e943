"""The near plane of novel views: found from training views alone, given by a flag, off, and stated with the results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import moegs
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts.images import image_of
from engine.runs.experts.novel_near import SHARE, automatic_near, culling_of, lone_rules, open_culling, seen_in_training
from engine.runs.run import mix_camera, mix_view
from router.novel_views import NovelViews
from scenes.types import FrameStore
from tests.small_world import HEIGHT, WIDTH, CloudExpert, camera, small_run, use_small_world

ON_CPU = ComputeDevice(device=CPU, backend="auto")


class NoFrames(FrameStore):
    def read(self, view, frame):
        raise AssertionError("the rule is blind to frames")


def flat(name: str, depth: float) -> CloudExpert:
    """An expert whose Gaussians all lie at a depth of the small world's cameras, wide and opaque."""
    expert = CloudExpert(name, 0)
    expert.spread[2] = 0
    expert.place[2] = depth
    with torch.no_grad():
        expert.drift.fill_(0.5)
        expert.scales.fill_(2.0)
        expert.opacities.fill_(1.0)
    return expert


def test_the_rule_is_a_quarter_of_the_median_depth_of_training_views(tmp_path):
    run = small_run(tmp_path)
    scene = replace(run.scene, frames=NoFrames())
    experts = [flat("one", 2.0), flat("two", 4.0), flat("three", 40.0)]
    assert automatic_near(scene, experts, ON_CPU, frames=range(4)) == pytest.approx(SHARE * 4.0, rel=1e-5)
    elsewhere = replace(scene.views[0], camera=camera(7))  # the held-out camera has no part in it
    scene = replace(scene, views=(elsewhere, *scene.views[1:]))
    assert automatic_near(scene, experts, ON_CPU, frames=range(4)) == pytest.approx(SHARE * 4.0, rel=1e-5)


def test_a_plane_that_is_given_or_off(tmp_path, caplog):
    run = small_run(tmp_path)
    assert culling_of(run.scene, run.experts, ON_CPU, near=0.7).near == 0.7
    assert open_culling(run.scene, run.experts, ON_CPU, near=0) is None and not caplog.messages
    behind = [flat("one", -5.0)]
    assert open_culling(run.scene, behind, ON_CPU, near=None) is None
    assert "no expert shows anything at the training cameras" in caplog.text


def test_only_cameras_that_were_not_trained_on_are_culled(tmp_path):
    run = small_run(tmp_path)
    far = [replace(view, camera=camera(90 + index)) for index, view in enumerate(run.scene.views)]
    everything = culling_of(replace(run.scene, views=tuple(far)), run.experts, ON_CPU, near=100.0)
    culled = replace(run, novel=NovelViews(culling=everything))
    held_out, trained = run.scene.test[0], run.scene.train[0]
    assert torch.equal(mix_view(culled, trained, 0).image, mix_view(run, trained, 0).image)
    assert torch.equal(mix_view(culled, held_out, 0).image, torch.ones_like(mix_view(run, held_out, 0).image))
    novel = mix_camera(culled, run.scene.views[trained].camera, 0)
    assert torch.equal(novel.image, torch.ones_like(novel.image)), "without a number it is a novel view"


def test_results_state_the_plane(tmp_path):
    run = small_run(tmp_path)
    options = EvaluationOptions(frames=[0], videos=False, networks=False, progress=False)
    for near in (None, 0.4):
        changed = replace(run, novel=NovelViews(culling=culling_of(run.scene, run.experts, ON_CPU, near=near or 0)))
        evaluate_mixture(changed, views=run.scene.test, folder=tmp_path / "out", options=options)
        assert json.loads((tmp_path / "out" / "metrics.json").read_text())["novel_near"] == near


def test_the_flag_of_trainings_and_renderings(tmp_path, monkeypatch, capsys):
    flags = use_small_world(monkeypatch, tmp_path)
    out = tmp_path / "out"
    assert moegs.main(["render", f"--save_path={out}", "--novel_near=-1"]) == 2
    assert "--novel_near is -1.0: give a distance in scene units, or 0" in capsys.readouterr().err
    from engine.commands import render, train

    assert train.main("E3", [*flags, f"--save_path={out}", "--iterations=1", "--novel_near=0.3"]) == 0
    for more, near in (((), 0.3), (("--novel_near=0",), None)):
        assert render.main("E3", [f"--save_path={out}", "--skip_train", "--quiet", *more]) == 0
        assert json.loads((out / "test" / "itrs_1" / "metrics.json").read_text())["novel_near"] == near


def test_the_guard_and_the_filling_hold_at_novel_views_alone(tmp_path):
    """Two experts: one covers all, one nothing; the router alone would give both a half."""
    run = small_run(tmp_path)
    covers, empty, third = flat("Ex4DGS", 3.0), flat("E-D3DGS", -5.0), flat("4DGaussians", -5.0)
    third.background = empty.background = (0.0, 0.0, 0.0)
    run = replace(run, experts=(covers, empty, third))
    held_out, trained = run.scene.test[0], run.scene.train[0]
    rules = NovelViews(coverage_guard=True, hole_colour=(0.2, 0.4, 0.6), usual_coverage=0.3)
    guarded = replace(run, novel=rules)
    plain = mix_view(run, held_out, 0)
    limited = mix_view(guarded, held_out, 0)
    inside = (slice(None), slice(4, 12), slice(8, 16))
    assert float(plain.gates[0][inside[1:]].max()) < 0.6 and float(limited.gates[0][inside[1:]].min()) > 0.9
    assert torch.allclose(limited.gates.sum(0), torch.ones_like(limited.gates[0]), atol=1e-5)
    assert float(limited.images[1][inside].max()) == 0, "training views are covered as little: no hole"
    alone = mix_view(replace(run, novel=replace(rules, usual_coverage=0.9)), held_out, 0)
    assert torch.allclose(alone.gates, torch.full_like(alone.gates, 1 / 3)), "most have nothing: gates say nothing"
    colour = torch.tensor(rules.hole_colour)[:, None, None]
    assert float((alone.images[1][inside] - colour).abs().max()) < 0.05
    assert torch.equal(mix_view(guarded, trained, 0).image, mix_view(run, trained, 0).image)


def test_holes_are_filled_at_novel_views_alone(tmp_path):
    run = small_run(tmp_path)
    sparse = flat("Ex4DGS", 3.0)
    with torch.no_grad():
        sparse.scales.fill_(0.0)  # with gaps between its Gaussians
    run = replace(run, experts=(sparse, flat("E-D3DGS", -5.0), flat("4DGaussians", -5.0)))
    held_out, trained = run.scene.test[0], run.scene.train[0]
    filled = replace(run, novel=NovelViews(fill_holes=True))
    assert torch.equal(mix_view(filled, trained, 0).image, mix_view(run, trained, 0).image)
    before, after = mix_view(run, held_out, 0, depths=True), mix_view(filled, held_out, 0)
    covered = before.alphas.amax(dim=0) >= 0.75
    assert 0.05 < float(covered.float().mean()) < 0.95
    assert torch.equal(after.image[:, covered], before.image[:, covered])
    hole = before.alphas.amax(dim=0) < 0.05
    assert float((after.image[:, hole] - 1).abs().mean()) > 0.1, "white background is gone"


def test_holes_have_the_mean_colour_of_the_training_views(tmp_path):
    run = small_run(tmp_path)
    experts = (flat("Ex4DGS", -5.0), flat("E-D3DGS", -5.0))  # nothing but backgrounds: white, black
    experts[1].background = (0.0, 0.0, 0.0)
    seen, coverage = seen_in_training(run.scene, experts, run.compute)
    assert seen == pytest.approx((0.5, 0.5, 0.5), abs=1e-3) and coverage < 0.01
    novel = NovelViews(hole_colour=(0.2, 0.4, 0.6))
    run = replace(run, experts=(*experts, flat("4DGaussians", -5.0)), novel=novel)
    held_out, trained = run.scene.test[0], run.scene.train[0]
    colour = torch.tensor([0.2, 0.4, 0.6])[:, None, None]
    assert torch.allclose(mix_view(run, held_out, 0).image, colour.expand(3, HEIGHT, WIDTH), atol=1e-5)
    plain = mix_view(replace(run, novel=NovelViews()), trained, 0)
    assert torch.equal(mix_view(run, trained, 0).image, plain.image)


def test_an_expert_alone_has_the_holes_of_its_mixture_of_one(tmp_path):
    run = small_run(tmp_path)
    expert = flat("Ex4DGS", 3.0)
    with torch.no_grad():
        expert.scales.fill_(0.0)  # with gaps between its Gaussians
    rules = lone_rules(run.scene, expert, ON_CPU, near=0, guard=True, frames=range(4))
    rules = replace(rules, hole_colour=(0.2, 0.4, 0.6), usual_coverage=0.9)
    view = run.scene.views[run.scene.test[0]]
    alone = image_of(expert, view.camera, 0, compute=ON_CPU, novel=rules)
    twice = replace(run, experts=(expert, expert, expert), novel=rules)
    assert torch.allclose(alone, mix_view(twice, run.scene.test[0], 0).image, atol=1e-5)
    own = image_of(expert, view.camera, 0, compute=ON_CPU)
    changed = (alone - own).abs().amax(dim=0) > 0.1
    assert 0.1 < float(changed.float().mean()) < 0.9, "the hole alone"
    trained = image_of(expert, view.camera, 0, compute=ON_CPU, camera_number=0, novel=rules)
    assert torch.equal(trained, image_of(expert, view.camera, 0, compute=ON_CPU, camera_number=0))
    assert lone_rules(run.scene, expert, ON_CPU, near=0, guard=False, frames=range(4)) == NovelViews()


def test_results_are_verified_under_the_rules_they_were_made_with(tmp_path, monkeypatch):
    flags = use_small_world(monkeypatch, tmp_path)
    out = tmp_path / "out"
    from engine.commands import render, train

    assert train.main("E3", [*flags, f"--save_path={out}", "--iterations=1"]) == 0
    changed = ["--novel_near=0.5", "--coverage_guard=off", "--fill_holes=on"]
    assert render.main("E3", [f"--save_path={out}", "--skip_train", "--quiet", *changed]) == 0
    facts = json.loads((out / "test" / "itrs_1" / "metrics.json").read_text())
    assert (facts["novel_near"], facts["coverage_guard"], facts["fill_holes"]) == (0.5, False, True)
    assert moegs.main(["verify", str(out), "--quiet"]) == 0
    assert moegs.main(["verify", str(out), "--coverage_guard=on"]) == 2
