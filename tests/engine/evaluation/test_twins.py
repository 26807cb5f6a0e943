"""The baseline of an expert trained twice."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import engine.runs.experts.loading
import moegs
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.mixture_results import evaluation_summary, experts_among, table_order
from engine.evaluation.rivals.twins import twin_images
from engine.reporting.claims import claims
from engine.reporting.results import read_results
from engine.runs.experts.novel_near import culling_of
from engine.runs.run import mix_view
from experts.base import CheckpointError
from router.novel_views import NovelViews
from tests.engine.conftest import FlatExpert
from tests.small_world import camera, small_run, use_small_world


def test_the_row_is_the_mean_of_both_images(flat_run, tmp_path):
    file = tmp_path / "other.ply"
    file.write_text("other")
    twin = FlatExpert("low", 90, file)
    options = EvaluationOptions(
        progress=False, videos=False, constant_frames=0, networks=False, twins={"low": twin}, oracles=False
    )
    result = evaluate_mixture(flat_run, views=[0, 1], folder=tmp_path / "test" / "itrs_1", options=options)
    expected = [20 * math.log10(255 / (15 - frame)) for frame in range(3)]  # levels 85, 86 and 87 on 100
    assert [frame.scores["low twice"]["psnr"] for frame in result.frames[:3]] == pytest.approx(expected, abs=1e-4)
    assert twin.cameras == [None] * 3 + [1] * 3  # its per-camera parameters, of the training camera alone
    lines = evaluation_summary("test", result).splitlines()
    assert [line.split("  ")[1] for line in lines[2:7]] == ["low", "high", "low twice", "uniform mean", "MoE-GS"]
    report = json.loads((tmp_path / "test" / "itrs_1" / "metrics.json").read_text())
    assert report["baselines"]["low twice"]["what"] == "mean of the images of low and of another training of it"
    results = read_results(tmp_path)
    assert results.experts == ("low", "high")
    assert any(sentence.startswith("MoE-GS against low twice: ") for sentence in claims(results.means))


def test_a_twin_is_culled_at_novel_views_like_its_expert(tmp_path):
    run = small_run(tmp_path)
    elsewhere = replace(run.scene, views=tuple(replace(each, camera=camera(90)) for each in run.scene.views))
    culling = culling_of(elsewhere, run.experts, run.compute, near=100.0)
    culled = replace(run, novel=NovelViews(culling=culling, hole_colour=(0.2, 0.4, 0.6)))
    expert = run.experts[0]
    for view, shown in ((run.scene.test[0], "nothing"), (run.scene.train[0], "all")):
        mixture = mix_view(culled, view, 0)
        images = mixture.images
        twice = twin_images(culled, {expert.name: expert}, (view, 0), mixture)
        assert torch.equal(twice[f"{expert.name} twice"], images[0])
        assert torch.equal(images[0], mix_view(run, view, 0).images[0]) == (shown == "all")


def test_the_order_of_tables():
    methods = ("MoE", "STG", "oracle_pixel", "STG twice", "E-D3DGS", "uniform_mean")
    assert experts_among(methods) == ("STG", "E-D3DGS")
    assert table_order(methods) == ["STG", "E-D3DGS", "STG twice", "uniform_mean", "oracle_pixel", "MoE"]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of the small world, another training of its Ex4DGS, and a function that renders with a --twin."""
    flags = use_small_world(monkeypatch, tmp_path)
    folders = {name: tmp_path / "models" / name for name in ("Ex4DGS", "4DGaussians")}
    experts = [f"--expert={name}={folder}" for name, folder in folders.items()]
    scene = [flag for flag in flags if str(tmp_path / "models") not in flag]
    few = ("--iterations", "1", "--test_iterations")
    assert moegs.main(["train", *scene, *experts, f"--save_path={tmp_path / 'out'}", *few]) == 0
    cloud = tmp_path / "again" / "point_cloud" / "iteration_1" / "point_cloud.ply"
    cloud.parent.mkdir(parents=True)
    cloud.write_text("another training of Ex4DGS")
    command = ["render", f"--save_path={tmp_path / 'out'}", "--skip_train", "--quiet", "--constant_frames=0"]
    return lambda *twins: moegs.main([*command, *(f"--twin={twin}" for twin in twins)])


def test_render_takes_a_second_training_of_an_expert(trained, tmp_path, capsys, monkeypatch):
    again, own = tmp_path / "again", tmp_path / "models" / "Ex4DGS"
    for twins, message in (
        (("Ex4DGS",), "--twin Ex4DGS: NAME=PATH expected"),
        ((f"Ex4DGS={tmp_path / 'nowhere'}",), "no such folder; give the folder of the trained Ex4DGS model"),
        ((f"STG={again}",), "NAME=PATH expected, where NAME is Ex4DGS or 4DGaussians"),
        ((f"Ex4DGS={own}",), "these are the files of Ex4DGS in the run; give another training of it"),
        ((f"Ex4DGS={again}", f"ex4dgs={again}"), "--twin is given twice for Ex4DGS"),
    ):
        assert trained(*twins) == 2
        assert message in capsys.readouterr().err
    load = engine.runs.experts.loading.load_expert

    def refuse(name, folder, options, *, argument_of):
        if folder == again:
            raise CheckpointError(f"give it to {argument_of('STG')}")
        return load(name, folder, options)

    with monkeypatch.context() as patch:
        patch.setattr(engine.runs.experts.loading, "load_expert", refuse)
        assert trained(f"Ex4DGS={again}") == 2
    assert "give it to --twin STG=PATH" in capsys.readouterr().err
    assert trained(f"ex4dgs={again}") == 0
    assert "Ex4DGS twice" in capsys.readouterr().out
    report = json.loads(next((tmp_path / "out" / "test").glob("itrs_*/metrics.json")).read_text())
    # the small world has the same Gaussians for every folder: their mean is the expert's image
    assert report["means"]["Ex4DGS twice"] == pytest.approx(report["means"]["Ex4DGS"], nan_ok=True)
    assert moegs.main(["verify", str(tmp_path / "out"), "--quiet"]) == 0
    assert moegs.main(["report", str(tmp_path / "out"), "--quiet"]) == 0
    assert "Ex4DGS twice" in (tmp_path / "out" / "report.html").read_text()
