"""`moegs.py export --to` writes files that show the run, and says what they lose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Gaussians, Layer, RasterSettings, rasterize

import engine.settings.export
import moegs
from engine.errors import ConfigError
from engine.export.formats import FORMATS
from engine.export.frames import unit_shapes
from engine.export.fused import Fused, gated, mean_gates
from engine.export.job import Export
from engine.export.players.convention import damped, for_players, players_settings
from engine.export.quality import QUALITIES
from engine.export.writing import write_export
from engine.runs.lone_expert import trained_data
from engine.runs.run import mix_view
from experts.formats.cfg_args import write_cfg_args
from experts.splats.container import read_4dgs
from experts.splats.frame_files import frame_files
from tests.engine.expert_scene import run, write_film
from tests.small_world import FRAMES, small_run


def export(*arguments: object) -> int:
    return moegs.main(["export", *map(str, arguments), "--quiet"])


def test_an_expert_goes_into_a_4dgs_file_that_tells_its_loss(save_path: Path, capsys) -> None:
    path = save_path / "stg.4dgs"
    assert export(save_path, "--content", "e-d3dgs", "--to", path) == 0
    printed = capsys.readouterr().out
    assert "E-D3DGS" in printed and "PSNR: mean over 1 camera, 4 frames of each" in printed and "lost" in printed
    assert f"written: {path} (0.02 MB, E-D3DGS)" in printed
    import fourdgs

    facts = json.loads(fourdgs.read(str(path)).header.attributes["moegs"])
    assert (facts["content"], facts["frames"], facts["quality"]) == ("E-D3DGS", FRAMES, "high")
    assert facts["first_frame"] == 0
    assert facts["psnr_to_source"]["file"] > 30 and facts["harmonics_of_degree_2_and_3"] == 0.5
    assert facts["psnr_lost"] == facts["psnr"]["E-D3DGS"] - facts["psnr"]["file"]


def test_a_page_is_of_the_mixture(save_path: Path, capsys) -> None:
    path = save_path / "page.html"
    assert export(save_path, "--to", path, "--quality=small", "--test_frames=2") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].startswith("mixture") and printed.splitlines()[2].startswith("page")
    assert "MB, mixture)" in printed
    assert export(save_path, "--to", path, "--megabytes=none", "--test_frames=1") == 0


def test_the_mixture_becomes_a_folder_of_frames(save_path: Path) -> None:
    folder = save_path / "frames"
    assert export(save_path, "--to", folder, "--test_frames=1", "--coverage_guard=off") == 0
    assert [path.name for path in frame_files(folder)] == [f"frame_{frame:05d}.ply" for frame in range(FRAMES)]
    facts = json.loads((folder / "export.json").read_text())
    assert facts["content"] == "fused" and facts["frames_of_each_camera"] == 1
    assert list(facts["psnr"]) == ["mixture", "fused", "file"]
    assert "blends the images" in facts["note"]
    assert facts["psnr"]["file"] == pytest.approx(facts["psnr"]["fused"], abs=1e-3)  # frames are exact


def test_one_expert_needs_no_run(save_path: Path) -> None:
    world, path = save_path.parent, save_path / "alone.4dgs"
    flags = ["--expert", f"4DGaussians={world / 'models' / '4DGaussians'}", "--source_path", world]
    assert export(*flags, "--to", path) == 0
    assert read_4dgs(path).num_frames == FRAMES


def test_one_expert_is_shown_on_the_clip_that_it_was_trained_on(tmp_path: Path) -> None:
    film, model, path = write_film(tmp_path), tmp_path / "freetime", tmp_path / "alone.4dgs"
    clip = ("--start_timestamp=1", "--duration=4", "--resolution=2")
    assert run(film, model, "freetime", *clip, "--iterations=2", "--device=cpu") == 0
    assert export("--expert", f"FreeTime={model}", "--source_path", film, "--to", path, "--device=cpu") == 0
    assert read_4dgs(path).num_frames == 4
    assert trained_data(model)["resolution"] == 2
    assert trained_data(model)["cache_path"] is None, "it lies outside of the folder, which may come from strangers"
    config, own = model / "train_expert_config.json", model / "cache"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"cache_path": str(own)}))
    assert trained_data(model)["cache_path"] is None, "it is not there"
    own.mkdir()
    assert trained_data(model)["cache_path"] == own
    assert trained_data(tmp_path) == {}


def test_one_expert_is_shown_on_the_scene_that_its_folder_tells(tmp_path: Path, capsys) -> None:
    tree, moved, path = tmp_path / "tree", tmp_path / "moved", tmp_path / "alone.ply"
    assert run(write_film(tree), tree / "freetime", "freetime", "--iterations=2", "--device=cpu") == 0

    def exported(folder: Path, code: int = 0) -> str:
        path.unlink(missing_ok=True)
        flags = ["--expert", f"FreeTime={folder}", "--to", str(path), "--test_frames=1", "--device=cpu"]
        assert moegs.main(["export", *flags]) == code
        assert path.exists() == (code == 0)
        return capsys.readouterr().err

    said = exported(tree / "freetime")
    assert f"the scene is {tree / 'film'}, as {tree / 'freetime' / 'train_expert_config.json'} tells" in said
    tree.rename(moved)
    assert f"the scene is {moved / 'film'}" in exported(moved / "freetime")
    (moved / "film").rename(tmp_path / "elsewhere")
    gone = "which is no folder here; give the scene with --source_path"
    config, arguments = (moved / "freetime" / name for name in ("train_expert_config.json", "cfg_args"))
    assert f"{config}: the scene was in {tree / 'film'}, {gone}" in exported(moved / "freetime", 2)
    config.unlink()
    assert f"{arguments}: the scene was in {tree / 'film'}, {gone}" in exported(moved / "freetime", 2)
    (tmp_path / "elsewhere").rename(tmp_path / "film")
    write_cfg_args(moved / "freetime", {"source_path": str(tmp_path / "film" / "colmap_0")})
    assert f"the scene is {tmp_path / 'film'}, as {arguments} tells" in exported(moved / "freetime")
    write_cfg_args(moved / "freetime", {"source_path": ""})
    silent = "does not tell the scene of its training; give the scene with --source_path"
    assert f"{moved / 'freetime'}: {silent}" in exported(moved / "freetime", 2)


def test_what_cannot_be_written_is_named_and_leaves_nothing(save_path: Path, capsys, monkeypatch) -> None:
    def refused(*arguments: object) -> str:
        assert export(*arguments) == 2
        return capsys.readouterr().err

    full = save_path / "full"
    full.mkdir()
    (full / "a.txt").touch()
    assert "nothing to write: give --to NAME.html, NAME.4dgs or FOLDER, or --out FOLDER" in refused(save_path)
    assert "--to and --out: give one of the two" in refused(save_path, "--to=a.4dgs", "--out=b")
    assert "is not empty; choose another folder" in refused(save_path, f"--to={full}")
    (save_path / "folder.html").mkdir()
    assert "folder.html: is a folder; give a file" in refused(save_path, f"--to={save_path / 'folder.html'}")
    assert "is a file; give another path" in refused(save_path, f"--to={full / 'a.txt' / 'frames'}")
    assert "cannot write '.4dg'; did you mean .4dgs?" in refused(save_path, f"--to={save_path / 'a.4dg'}")
    for target in (".PLY", *(full / ending for ending in FORMATS if ending)):
        nameless = f"--to {target}: there is no name before the ending; give --to "
        assert nameless in refused(save_path, "--to", target) and not Path(target).exists()
    assert "nothing to export: give SAVE_PATH of a trained run" in refused("--to=a.4dgs")
    two = ("--expert", f"4DGaussians={full}", "--expert", f"E-D3DGS={full}", "--to=a.4dgs")
    assert "nothing to export: give SAVE_PATH of a trained run" in refused(*two)
    assert "--content STGG: no such expert here; known: Ex4DGS" in refused(save_path, "--content=STGG", "--to=a.4dgs")
    assert "--test_frames is 0: give 1 or more" in refused(save_path, "--test_frames=0", "--to=a.4dgs")
    assert "--quality small: goes with --to NAME.html or .4dgs only" in refused(save_path, "--to=f", "--quality=small")
    assert "--megabytes 9.0: goes with --to NAME.html only" in refused(save_path, "--to=a.4dgs", "--megabytes=9")
    assert "--megabytes is 0.1: give 0.2 or more, or none" in refused(save_path, "--to=a.html", "--megabytes=0.1")
    assert "--megabytes is nan: give 0.2 or more" in refused(save_path, "--to=a.html", "--megabytes=nan")
    assert "--megabytes is inf: give 0.2 or more" in refused(save_path, "--to=a.html", "--megabytes=inf")
    assert "--frame 3: goes with --to NAME.ply or .sog" in refused(save_path, "--to=a.html", "--frame=3")
    assert "--content STG: goes with --to only" in refused(save_path, "--out=b", "--content=STG")
    assert "--eval_temperature is 0.0: give more than 0" in refused(save_path, "--to=a.ply", "--eval_temperature=0")
    assert "--novel_near is nan: give a distance" in refused(save_path, "--to=a.ply", "--novel_near=nan")
    assert "--towards_mean is 2.0: give a share" in refused(save_path, "--to=a.ply", "--towards_mean=2")
    assert "--frame is 4: the clip has 4 frames, from 0" in refused(save_path, "--to=a.ply", "--frame=4")
    monkeypatch.setattr(engine.settings.export, "find_spec", lambda name: None)
    missing = refused(save_path, "--to=a.4dgs")
    assert ".4dgs needs the package fourdgs: run pip install -r requirements-export.txt" in missing
    assert not Path("a.4dgs").exists()


def test_a_failure_while_measuring_leaves_no_file(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    job = Export(run=run, expert=run.experts[0], quality=QUALITIES["small"], fps=30)
    run.scene.frames.pixels = run.scene.frames.pixels[:, :1]  # frame 1 cannot be read
    with pytest.raises(IndexError):
        write_export(job, FORMATS[".4dgs"], tmp_path / "a.4dgs", frames=FRAMES, facts={})
    assert not list(tmp_path.iterdir())


def test_a_black_clip_has_a_loss_that_files_can_tell(tmp_path: Path) -> None:
    """An infinite PSNR is no JSON: the page could not be shown."""
    run = small_run(tmp_path)
    run.scene.frames.pixels[:] = 0
    expert = run.experts[0]
    expert.opacities.data.zero_()
    expert.opacities.data[0], expert.background = 0.9, (0.0, 0.0, 0.0)
    expert.colours.data.zero_()
    job = Export(run=run, expert=expert, quality=QUALITIES["high"], fps=30)
    found = write_export(job, FORMATS[".html"], tmp_path / "a.html", frames=FRAMES, facts={})
    assert found.truth == {"Ex4DGS": 100.0, "page": 100.0} and found.lost == 0
    assert "Infinity" not in (tmp_path / "a.html").read_text().split('id="facts"')[1].splitlines()[0]
    run.router.eval_temperature = 0.0
    with pytest.raises(ConfigError, match="mixture: its images have values that are no numbers"):
        write_export(replace(job, expert=None), FORMATS[".html"], tmp_path / "b.html", frames=1, facts={})


def activated(expert) -> Gaussians:
    """The Gaussians of a frame with unit quaternions, as exports have them."""
    given = expert.at(1)
    scales, quats = unit_shapes(given.scales, given.quats)
    return replace(given, scales=scales, quats=quats)


def test_players_show_what_other_rules_do(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    expert = run.experts[0]
    expert.settings = replace(expert.settings, low_pass=0.1, compensate=True)
    expert.scales.data.mul_(0.2)  # less than a pixel to two: the rules matter
    cameras = [run.scene.views[view].camera for view in run.scene.train]
    given = activated(expert)
    changed, plain = for_players(given, expert.settings, cameras), players_settings(expert.settings)

    def image(gaussians: Gaussians, settings: RasterSettings) -> torch.Tensor:
        layer = Layer(gaussians=gaussians, settings=settings, background=torch.ones(3))
        return rasterize([layer], cameras[0])[0].colour

    truth = image(given, expert.settings)
    before, after = (image(each, plain) - truth for each in (given, changed))
    assert after.square().mean() < before.square().mean() / 4
    assert for_players(given, plain, cameras) is given


def test_a_4dgs_file_has_half_of_the_high_harmonics() -> None:
    sh = torch.randn(3, 16, 3)
    gaussians = Gaussians(
        means=torch.zeros(3, 3), scales=torch.ones(3, 3), quats=torch.ones(3, 4), opacities=torch.ones(3), sh=sh
    )
    low, high = damped(gaussians).sh.split([4, 12], dim=1)
    assert torch.equal(low, sh[:, :4]) and torch.equal(high, sh[:, 4:] / 2)
    few = damped(replace(gaussians, sh=sh[:, :4]))
    assert torch.equal(few.sh, sh[:, :4])


def test_gates_of_a_gaussian_are_those_where_it_is_seen(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    gates = mean_gates(run, frames=2)
    assert [len(each) for each in gates] == [expert.num_gaussians for expert in run.experts]
    assert all(((each >= 0) & (each <= 1)).all() for each in gates)
    views = [mix_view(run, view, frame).gates.flatten(1).mean(dim=1) for view in run.scene.train for frame in (0, 3)]
    means = torch.stack(views).mean(dim=0)
    for each, mean in zip(gates, means, strict=True):
        assert float(each.mean()) == pytest.approx(float(mean), abs=0.1)


def test_a_fused_scene_of_one_expert_is_that_expert(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    expert = run.experts[0]
    fused, own = Fused([expert], [torch.ones(expert.num_gaussians)]).at(1), expert.at(1)
    assert torch.allclose(fused.means, own.means) and torch.allclose(fused.opacities, own.opacities, atol=1e-5)
    assert torch.allclose(gated(torch.tensor([0.99]), torch.tensor([0.25])), torch.tensor([1 - 0.01**0.25]))
