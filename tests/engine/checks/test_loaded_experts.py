"""Checks before training: the rasterizer is right, and the experts show the scene."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError

import engine.checks.rasterizer
import engine.runs.experts.loading
from engine.checks.experts import EXPERT_REPORT, check_cameras, check_frames, check_visible
from engine.checks.rasterizer import check_rasterizer
from engine.commands import train
from engine.errors import ConfigError
from engine.runs.device import CPU, ComputeDevice
from experts.base import CheckpointError
from tests.small_world import CloudExpert, random_scene, small_run, use_small_world


def test_available_back_ends_pass_the_self_test():
    check_rasterizer(ComputeDevice(device=CPU, backend="torch"))
    check_rasterizer(ComputeDevice(device=CPU, backend="auto"))


@pytest.mark.parametrize("what", ["colour", "features", "alpha"])
def test_a_back_end_that_computes_something_else_is_refused(monkeypatch, what):
    original = engine.checks.rasterizer.rasterize

    def wrong(layers, camera, *, grad, backend):
        splats = original(layers, camera, grad=grad, backend="torch")
        return splats if backend == "torch" else [replace(s, **{what: getattr(s, what) * 1.01}) for s in splats]

    monkeypatch.setattr(engine.checks.rasterizer, "rasterize", wrong)
    monkeypatch.setattr(engine.checks.rasterizer, "_passed", lambda library: [])
    with pytest.raises(
        RasterizerError, match=r"'auto' differs from the PyTorch one by 0\.0\d+ in the .* --backend torch"
    ):
        check_rasterizer(ComputeDevice(device=CPU, backend="auto"))


def test_a_library_is_tested_once(monkeypatch, tmp_path):
    library = tmp_path / "rasterizer.so"
    library.write_bytes(b"one")
    original, calls = engine.checks.rasterizer.rasterize, []

    def counted(*arguments, **options):
        calls.append(options["backend"])
        return original(*arguments, **options)

    monkeypatch.setattr(engine.checks.rasterizer, "rasterize", counted)
    monkeypatch.setattr(engine.checks.rasterizer, "backend_name", lambda compute: "cpu")
    monkeypatch.setattr(engine.checks.rasterizer, "_LIBRARIES", {"cpu": lambda: library})
    compute = ComputeDevice(device=CPU, backend="auto")
    for _ in range(3):
        check_rasterizer(compute)
    assert calls == ["auto", "torch"]
    library.write_bytes(b"another")
    check_rasterizer(compute)
    assert len(calls) == 4
    monkeypatch.setenv("MOEGS_RASTERIZER_ISA", "portable")  # other kernels of the same library
    check_rasterizer(compute)
    assert len(calls) == 6


def test_experts_that_show_the_scene_pass(tmp_path):
    run = small_run(tmp_path)
    for expert in run.experts:
        check_visible(expert, run.scene, compute=run.compute, label="--x", folder=tmp_path)


def test_an_expert_that_shows_nothing_is_named_with_its_likely_causes(tmp_path, monkeypatch, capsys):
    arguments = use_small_world(monkeypatch, tmp_path)

    def near_plane_too_far(name, folder, options, **_):
        expert = CloudExpert(name, 1)
        if name == "E-D3DGS":
            expert.settings = replace(expert.settings, near=4.0)
        return expert

    monkeypatch.setattr(engine.runs.experts.loading, "load_expert", near_plane_too_far)
    assert train.main("E3", [*arguments, f"--save_path={tmp_path / 'out'}"]) == 2
    folder = tmp_path / "models" / "E-D3DGS"
    assert capsys.readouterr().err == (
        f"error: --emb_path {folder}: E-D3DGS shows nothing of this scene, it covers 0.0% of cam01 at frame 2: another "
        "scene's model (cfg_args names data/small), or a wrong near plane (near is 4, its nearest Gaussian lies at "
        "depth 2.49, half of them nearer than 3)? Give this scene's model, or --near\n"
    )


def test_gaussians_behind_the_camera_are_said_to_be(tmp_path):
    run = small_run(tmp_path)
    with torch.no_grad():
        run.experts[0].means[:, 2] -= 9
    with pytest.raises(ConfigError, match="all its Gaussians lie behind the camera"):
        check_visible(run.experts[0], run.scene, compute=run.compute, label="--model_path x", folder=tmp_path)


def test_an_expert_of_a_shorter_clip_is_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"does not cover the clip's 5 frames \(A: frame 4 lies outside the clip\)"
    ):
        check_frames(CloudExpert("A", 1), 5, tmp_path)
    check_frames(CloudExpert("A", 1, segments=2), 4, tmp_path)


def test_a_held_out_camera_that_an_expert_has_seen_is_warned_of(flat_run, tmp_path, caplog):
    check_cameras(flat_run.scene, "STG", tmp_path)  # of an expert's own code nothing is known
    segment = tmp_path / "stg_0to149"
    segment.mkdir()
    for seen, warned in ((["cam01", "cam02"], False), (["cam00", "cam02"], True)):
        (segment / EXPERT_REPORT).write_text(json.dumps({"settings": {"training cameras": seen}}))
        caplog.clear()
        check_cameras(flat_run.scene, "STG", tmp_path)
        assert ("STG was trained on cam00, which this run holds out" in caplog.text) == warned


@pytest.mark.parametrize("content", [{}, {"settings": None}, {"settings": {"training cameras": 7}}, {"settings": [[]]}])
def test_a_report_of_another_shape_says_nothing(flat_run, tmp_path, caplog, content):
    (tmp_path / EXPERT_REPORT).write_text(json.dumps(content))
    check_cameras(flat_run.scene, "STG", tmp_path)
    assert not caplog.text


def left_to_the_router(root, *names: str):
    """A scene of nine training cameras that leaves some to the router."""
    scene = random_scene(root, cameras=10)
    router = tuple(index for index, view in enumerate(scene.views) if view.name in names)
    return replace(scene, train=tuple(view for view in scene.train if view not in router), router=router)


def report_of(folder, **settings) -> None:
    (folder / EXPERT_REPORT).write_text(json.dumps({"settings": settings}))


def test_an_expert_that_was_trained_on_the_routers_cameras_is_refused(tmp_path):
    scene = left_to_the_router(tmp_path, "cam05", "cam02")
    report_of(tmp_path, **{"training cameras": ["cam01", "cam02", "cam03"]})
    wanted = f"{tmp_path}: STG was trained on cam02, which --router_cameras 2 leaves to the router; train it with"
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        check_cameras(scene, "STG", tmp_path)
    report_of(tmp_path, **{"training cameras": ["cam01"], "router cameras": ["cam02", "cam05"]})
    check_cameras(scene, "STG", tmp_path)


def test_an_expert_that_does_not_say_is_believed_with_a_warning(tmp_path, caplog):
    check_cameras(left_to_the_router(tmp_path), "STG", tmp_path)
    assert not caplog.messages
    check_cameras(left_to_the_router(tmp_path, "cam02"), "STG", tmp_path)
    assert "STG does not say what it was trained on; assumed: without cam02" in caplog.text


def test_cameras_that_experts_left_unused_are_told(tmp_path, caplog):
    report_of(tmp_path, **{"training cameras": ["cam01"], "router cameras": ["cam02", "cam05"]})
    check_cameras(left_to_the_router(tmp_path), "STG", tmp_path)
    assert "STG left cam02, cam05 to the router, and this run has not: give --router_cameras 2" in caplog.text
