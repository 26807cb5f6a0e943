"""One expert learns from the frozen mixture of its run, and stays an ordinary expert."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine.commands.distill
import engine.commands.prune
import engine.compression.distillation
import moegs
from common.disk.files import files_hash, replacing
from engine.compression.distillation import Distillation, distil, distilled_loss
from engine.compression.teacher import Lesson, TaughtSampler, TaughtViews
from engine.compression.trainers import degree_in_use, recipe_of
from engine.runs.experts.images import image_of
from engine.runs.run import mix_camera, mix_view
from engine.runs.saved.loading import load_run
from engine.settings.distill import find_name
from experts import EXPERTS, LoadOptions, load_expert
from experts.training.samplers import Sample
from losses import photometric
from router import ENSEMBLES
from tests import exhausted
from tests.engine.expert_scene import FRAMES
from tests.engine.expert_scene import run as train_expert

ON_CPU = {"device": "cpu"}
NAMES = ENSEMBLES["E4"].experts
BRIEF = Distillation(iterations=2, weight=0.5, novel_share=0.3)


def distill(world: Path, out: Path, *more: str) -> int:
    few = ["--iterations=2", "--test_frames=2"]
    return moegs.main(["distill", str(world / "run"), f"--out={out}", "--quiet", "--device=cpu", *few, *more])


def test_the_loss_by_hand() -> None:
    image, truth, mixture = (torch.full((3, 1, 2), value) for value in (0.5, 0.9, 0.3))
    lesson = Lesson(mixture=mixture, gate=torch.tensor([[1.0, 0.25]]))
    # Truth: (1 x 0.4 + 0.25 x 0.4) / 2 = 0.25; mixture: (0 + 0.75 x 0.2) / 2 = 0.075.
    loss = distilled_loss(image, truth, lesson, weight=0.2, l1=0.8, dssim=0.0)
    assert float(loss) == pytest.approx(0.8 * (0.2 * 0.25 + 0.8 * 0.075))


@pytest.mark.parametrize(("gate", "share"), [(1.0, 0.3), (0.0, 0.7)])
def test_a_gate_of_1_leaves_the_plain_loss_and_one_of_0_the_mixtures(gate: float, share: float) -> None:
    image, truth, mixture = torch.rand(3, 3, 20, 16, generator=torch.Generator().manual_seed(1))
    lesson = Lesson(mixture=mixture, gate=torch.full((20, 16), gate))
    loss = distilled_loss(image, truth, lesson, weight=0.3, l1=0.8, dssim=0.2)
    plain = photometric(image, truth if gate else mixture, l1=0.8, dssim=0.2)
    assert float(loss) == pytest.approx(share * float(plain), rel=1e-5)


def test_the_teacher_shows_the_truth_and_the_mixture_at_training_cameras_and_the_mixture_at_novel_ones(world) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    with TaughtViews(run, "STG") as views:
        assert views.trained == len(run.scene.train) and set(views.numbers[views.trained :]) == {None}
        known, novel = Sample(view=0, frame=3), Sample(view=views.trained + 5, frame=3)
        views.announce([known, novel])
        recorded = torch.tensor(run.scene.frames.read(run.scene.train[0], 3)).permute(2, 0, 1) / 255
        torch.testing.assert_close(views.image(known), recorded)
        taught = mix_view(run, run.scene.train[0], 3)
        torch.testing.assert_close(views.lesson(known).mixture, taught.image.clamp(0, 1))
        torch.testing.assert_close(views.lesson(known).gate, taught.gates[list(NAMES).index("STG")])
        shown = mix_camera(run, views.cameras[novel.view], 3).image.clamp(0, 1)
        torch.testing.assert_close(views.image(novel), shown)


def test_the_share_of_novel_views_is_kept_and_frames_are_those_of_the_segment(world) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    with TaughtViews(run, "STG") as views:
        sampler = TaughtSampler(views, range(4, 6), share=0.3, batch=2, seed=0)
        drawn = [sample for iteration in range(1, 501) for sample in sampler.next(iteration)]
        novel = [sample for sample in drawn if not views.is_recorded(sample)]
    assert {sample.frame for sample in drawn} == {4, 5}
    assert len(novel) == pytest.approx(300, abs=50) and len({sample.view for sample in novel}) > 50


@pytest.mark.parametrize("name", NAMES)
def test_a_distilled_expert_is_an_ordinary_one(world: Path, tmp_path: Path, name: str, capsys) -> None:
    before = files_hash(path for path in sorted((world / "run").rglob("*")) if path.is_file())
    out = tmp_path / "one"
    assert distill(world, out, f"--expert={EXPERTS[name].key}") == 0
    assert files_hash(path for path in sorted((world / "run").rglob("*")) if path.is_file()) == before
    old = load_expert(name, world / "models" / name, LoadOptions(num_frames=FRAMES))
    new = load_expert(name, out, LoadOptions(num_frames=FRAMES))
    assert new.num_gaussians == old.num_gaussians and new.provenance.iteration == old.provenance.iteration
    states = [each.state_dict() for each in (old, new)]
    assert states[0].keys() == states[1].keys()
    means = [key for key in states[0] if key.endswith("means") and states[0][key].numel()]
    assert all(not torch.equal(states[0][key], states[1][key]) for key in means)
    facts = json.loads((out / "distilled.json").read_text())
    assert facts["expert"] == name and set(facts["psnr"]) == {"before", "after", "mixture"}
    reports = sorted(out.rglob("train_expert.json"))
    assert len(reports) == (2 if name == "STG" else 1)
    report = json.loads(reports[0].read_text())
    assert report["scores"] is None and report["settings"]["training cameras"], "check_cameras reads these"
    assert f"{facts['psnr']['after']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_an_expert_grows_to_a_limit_and_no_further(world: Path, tmp_path: Path, name: str, capsys) -> None:
    old = load_expert(name, world / "models" / name, LoadOptions(num_frames=FRAMES))
    limit, out = int(1.2 * old.num_gaussians), tmp_path / "one"
    more = [f"--expert={name}", f"--max_gaussians={limit}", "--iterations=8", "--test_frames=1"]
    assert distill(world, out, *more) == 0
    new = load_expert(name, out, LoadOptions(num_frames=FRAMES))
    assert limit - 2 <= new.num_gaussians <= limit
    assert "fewer than the" not in capsys.readouterr().err
    assert json.loads((out / "distilled.json").read_text())["max_gaussians"] == limit


def test_a_number_of_gaussians_that_is_not_reached_is_told(world: Path, tmp_path: Path, capsys) -> None:
    for iterations, remedy in ((4, "give 40 --iterations or more"), (40, "begin with a larger expert")):
        flags = ["--expert=Ex4DGS", "--max_gaussians=60000", f"--iterations={iterations}", "--test_frames=1"]
        assert distill(world, tmp_path / str(iterations), *flags) == 0
        said = capsys.readouterr().err
        assert "fewer than the 60,000 of --max_gaussians: it grows by 5 % at a time" in said and remedy in said


def test_tables_of_other_rows_leave_an_expert_that_grows(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    expert = run.experts[list(NAMES).index("4DGaussians")]
    expert.accumulated = torch.zeros(expert.num_gaussians, 3)
    grown = distil(run, expert.name, replace(BRIEF, max_gaussians=2 * expert.num_gaussians), progress=False)
    assert grown.num_gaussians > expert.num_gaussians and grown.accumulated is None


def test_an_expert_with_a_recipe_of_its_own_is_trained_by_it(world: Path, tmp_path: Path) -> None:
    film, model = world / "film", tmp_path / "FreeTime"
    assert train_expert(film, model, "freetime", "--iterations=2", "--set", "kernel=flat") == 0
    folders = [f"--expert=FreeTime={model}", f"--expert=4DGaussians={world / 'models' / '4DGaussians'}"]
    run = tmp_path / "run"
    few = ["--iterations=1", "--test_iterations", "--quiet", "--device=cpu"]
    scene = [f"--source_path={film}", f"--cache_path={world / 'cache'}"]
    assert moegs.main(["train", *scene, *folders, *few, f"--save_path={run}"]) == 0
    shared = ["--iterations=2", "--test_frames=1", "--quiet", "--device=cpu"]
    assert moegs.main(["distill", str(run), "--expert=FreeTime", f"--out={tmp_path / 'out'}", *shared]) == 0
    old, new = (load_expert("FreeTime", path, LoadOptions(num_frames=FRAMES)) for path in (model, tmp_path / "out"))
    assert new.num_gaussians == old.num_gaussians and new.life == old.life


def test_it_comes_nearer_to_the_mixture_and_the_teacher_stays(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    expert = run.experts[list(NAMES).index("STG")]
    state = {key: value.clone() for key, value in expert.state_dict().items()}
    settings = Distillation(iterations=20, weight=0.5, novel_share=1.0, rate=3)
    student = distil(run, expert.name, settings, progress=False)
    camera = run.scene.views[run.scene.test[0]].camera
    target = mix_camera(run, camera, 2).image

    def error(one) -> float:
        return float((image_of(one, camera, 2, compute=run.compute) - target).abs().mean())

    assert error(student) < 0.8 * error(expert)
    assert all(torch.equal(value, state[key]) for key, value in expert.state_dict().items())
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_the_same_seed_gives_the_same_expert(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    first, second = (distil(run, "STG", BRIEF, progress=False).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_the_recipe_is_that_of_the_experts_training_and_uses_no_further_harmonics(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    for expert in run.experts:
        recipe = recipe_of(expert, EXPERTS[expert.name], run)
        assert recipe.iterations == 2 and recipe.background == "own"
    stg = run.experts[list(NAMES).index("STG")]
    for coefficient, degree in ((None, 0), (3, 1), (4, 2)):  # counted without the first
        for segment in stg.parts:
            segment.sh_rest.zero_()
            if coefficient is not None:
                segment.sh_rest[0, coefficient - 1, 1] = 0.1
        assert degree_in_use(stg, 0) == recipe_of(stg, EXPERTS["STG"], run).sh_degree == degree


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--expert=Ex4DG"], "--expert Ex4DG: the run has no such expert; did you mean Ex4DGS?"),
        (["--expert=STG", "--weight=1.5"], "--weight is 1.5: give 0 to 1"),
        (["--expert=STG", "--novel_share=-0.1"], "--novel_share is -0.1: give 0 to 1"),
        (["--expert=STG", "--rate=0"], "--rate is 0: give more than 0"),
        (["--expert=STG", "--max_gaussians=3"], "--max_gaussians is 3, and STG has"),
        (["--expert=STG", "--iterations=0"], "--iterations is 0: give 1 or more"),
        (["--expert=STG", "--moved=STG=/nowhere/at/all"], "--moved STG=/nowhere/at/all: no such folder"),
        ([], "--expert"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(world, tmp_path, capsys, flags, message) -> None:
    assert distill(world, tmp_path / "none", *flags) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_folder_with_files_is_not_replaced(world: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "kept").write_text("mine")
    assert distill(world, tmp_path, "--expert=STG") == 2
    assert "is not empty; choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_nothing_is_written_into_what_is_read(world: Path, tmp_path: Path, capsys) -> None:
    read = (world / "models" / "STG", world / "models" / "Ex4DGS", world / "film", world / "run" / "router")
    for folder in read:
        out = folder / "new.v2"
        assert distill(world, out, "--expert=STG") == 2
        told = f"--out {out}: lies in {folder}, which this command reads; choose a path outside of it"
        assert told in capsys.readouterr().err
        assert moegs.main(["prune", str(world / "run"), f"--out={out}", "--quiet", "--device=cpu"]) == 2
        assert told in capsys.readouterr().err and not out.exists()
    shutil.copytree(world / "models" / "STG", tmp_path / "STG")
    moved = f"--moved=STG={tmp_path / 'STG'}"
    assert distill(world, tmp_path / "STG" / "new", "--expert=STG", moved) == 2
    assert f"lies in {tmp_path / 'STG'}, which this command reads" in capsys.readouterr().err


def test_a_run_that_lies_in_its_scene_may_have_others_beside_it(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "film", tmp_path / "film", ignore=shutil.ignore_patterns("frame_cache"))
    shutil.copytree(world / "run", tmp_path / "film" / "runs" / "one")
    given = [f"--source_path={tmp_path / 'film'}", f"--out={tmp_path / 'film' / 'runs' / 'two'}", "--device=cpu"]
    few = ["--ratio=0", "--iterations=0", "--rounds=1", "--score=gate", "--score_frames=1", "--quiet"]
    assert moegs.main(["prune", str(tmp_path / "film" / "runs" / "one"), *given, *few]) == 0


def test_segments_beyond_the_clip_are_refused_before_anything_is_decoded(
    world: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    models, run = world / "models", tmp_path / "run"
    flags = [f"--expert=STG={models / 'STG'}", f"--expert=Ex4DGS={models / 'Ex4DGS'}"]
    scene = [f"--source_path={world / 'film'}", f"--cache_path={world / 'cache'}", "--duration=5", "--device=cpu"]
    few = ["--iterations=1", "--test_iterations", "--quiet"]
    assert moegs.main(["train", *flags, *scene, *few, f"--save_path={run}"]) == 0

    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(engine.commands.distill, "decode", decoded)
    monkeypatch.setattr(engine.commands.prune, "decode", decoded)
    for words in (["distill", str(run), "--expert=STG"], ["prune", str(run), "--tune=all"]):
        capsys.readouterr()
        assert moegs.main([*words, f"--out={tmp_path / 'out'}", "--device=cpu", "--quiet"]) == 2
        assert (
            "STG cannot be trained further: its last segment ends at frame 5, the run's clip at 4; give another "
            "--expert to distill, or --tune router to prune, or train the router again on 6 frames"
        ) in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert (
        moegs.main(["distill", str(run), "--expert=Ex4DGS", f"--out={tmp_path / 'ex'}", "--device=cpu", *few[:1]]) == 0
    )


def test_values_that_are_not_finite_are_not_written(world: Path, tmp_path: Path, capsys) -> None:
    assert distill(world, tmp_path / "none", "--expert=STG", "--rate=1e60", "--iterations=1") == 2
    assert "values are not finite after the distillation; give a smaller --rate" in capsys.readouterr().err
    assert distill(world, tmp_path / "none", "--expert=STG", "--rate=1e9", "--iterations=5") == 2
    error = capsys.readouterr().err
    assert "STG: the distillation diverged (" in error and "; give a smaller --rate" in error
    assert not list(tmp_path.iterdir())


def test_a_full_disk_names_the_folder_that_was_asked_for(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def full(expert: object, folder: Path, iteration: int) -> None:
        with replacing(folder / "point_cloud.ply"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(EXPERTS, "STG", replace(EXPERTS["STG"], save=full))
    assert distill(world, tmp_path / "new", "--expert=STG") == 2
    (told,) = exhausted.errors_of(capsys.readouterr().err)
    assert told.startswith(f"error: {tmp_path / 'new'}: cannot be written (") and not list(tmp_path.iterdir())


def test_a_second_of_its_kind_is_found_by_its_name() -> None:
    names = ["STG", "Ex4DGS", "STG-2"]
    assert [find_name(asked, names) for asked in ("stg", "STG-2", "ex4dgs")] == ["STG", "STG-2", "Ex4DGS"]


def test_a_gradient_that_runs_out_of_memory_is_one_line_and_leaves_nothing(
    world, tmp_path, monkeypatch, capsys
) -> None:
    own = engine.compression.distillation._loss

    def loss(*given):
        return exhausted.Exhausted.apply(own(*given), exhausted.FAULTS["runtime"])

    monkeypatch.setattr(engine.compression.distillation, "_loss", loss)
    assert distill(world, tmp_path / "out", "--expert=STG") == 2
    (told,) = exhausted.errors_of(capsys.readouterr().err)
    assert "out of memory: iteration 1 of the distillation of STG " in told and told.endswith(exhausted.WHAT_TO_DO)
    assert not (tmp_path / "out").exists()


def test_of_two_at_the_same_time_the_second_is_refused(world: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    out, codes = tmp_path / "student", []

    def with_another(*given, **named):
        monkeypatch.setattr(engine.commands.distill, "distil", distil)
        codes.append(distill(world, out, "--expert=Ex4DGS", "--seed=1"))
        return distil(*given, **named)

    monkeypatch.setattr(engine.commands.distill, "distil", with_another)
    assert distill(world, out, "--expert=Ex4DGS", "--seed=2") == 0 and codes == [2]
    assert f"error: {out}: another command writes here; wait for it or end it" in capsys.readouterr().err
    assert json.loads((out / "distilled.json").read_text())["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
