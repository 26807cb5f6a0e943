"""A compressed run is an ordinary run in small files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from zlib import crc32

import pytest
import torch

import moegs
from engine.compression import packing
from engine.compression.ordered import curve_order, sorted_along_curve
from engine.compression.packing import compress_run, pack_folder
from engine.evaluation.held_out import mixture_psnr
from engine.evaluation.provenance import megabytes
from engine.runs.run import Run, mix_view
from engine.runs.saved.loading import load_run
from experts import LoadOptions, load_expert
from experts.formats.packed import is_packed
from experts.formats.torch_files import load_tensors, save_tensors
from tests.docs.test_file_formats import PAGE, keys_in, section
from tests.engine.expert_scene import FRAMES
from tests.engine.expert_scene import run as train_expert

ON_CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def copy(world: Path, tmp_path_factory) -> Path:
    """A copy of the run, and in it a compressed one."""
    folder = tmp_path_factory.mktemp("packing") / "run"
    shutil.copytree(world / "run", folder)
    compress_run(folder, overrides=ON_CPU)
    return folder


def test_the_copy_is_small_and_shows_the_same(copy: Path) -> None:
    plain, small = (load_run(path, overrides=ON_CPU) for path in (copy, copy / "compressed"))
    assert small.iteration == plain.iteration
    assert all(any(is_packed(file) for file in expert.provenance.files) for expert in small.experts)
    tables = [
        sum(f.stat().st_size for e in one.experts for f in e.provenance.files if f.suffix == ".ply")
        for one in (plain, small)
    ]
    assert tables[1] < 0.5 * tables[0] and megabytes(small)["total"] < 0.6 * megabytes(plain)["total"]
    for frame in (0, 5):
        difference = (mix_view(plain, 0, frame).image - mix_view(small, 0, frame).image).abs()
        assert float(difference.mean()) < 1 / 255


def test_the_file_tells_what_was_lost(copy: Path) -> None:
    facts = json.loads((copy / "compressed" / "compressed.json").read_text())
    runs = [load_run(path, overrides=ON_CPU) for path in (copy, copy / "compressed")]
    before, after = (mixture_psnr(run, frames=range(FRAMES)) for run in runs)
    assert (facts["psnr_uncompressed"], facts["psnr"]) == (
        pytest.approx(before, abs=1e-3),
        pytest.approx(after, abs=1e-3),
    )
    assert facts["psnr_lost"] == pytest.approx(before - after, abs=2e-3) and abs(facts["psnr_lost"]) < 0.05
    assert facts["megabytes"] == pytest.approx(megabytes(runs[1])["total"], rel=0.01)


def test_the_size_is_that_of_the_files(copy: Path, world: Path, tmp_path: Path) -> None:
    small = load_run(copy / "compressed", overrides=ON_CPU)
    router = (copy / "compressed" / "router" / "iteration_3" / "router.safetensors").stat().st_size
    files = sum(file.stat().st_size for expert in small.experts for file in expert.provenance.files)
    facts = json.loads((copy / "compressed" / "compressed.json").read_text())
    assert facts["megabytes"] == megabytes(small)["total"] == pytest.approx((router + files) / 1e6)
    assert megabytes(small)["router"] == router / 1e6
    left = load_run(copy / "compressed", overrides={**ON_CPU, "without": ("STG",)})
    assert megabytes(left)["router"] < megabytes(load_run(copy, overrides=ON_CPU))["router"], "of no file"
    out = tmp_path / "pruned"
    flags = ["--ratio=0.2", "--scope=expert", "--iterations=0", "--rounds=1", "--score_frames=1", "--device=cpu"]
    assert moegs.main(["prune", str(world / "run"), f"--out={out}", "--quiet", *flags]) == 0
    told = json.loads((out / "pruned.json").read_text())
    for key, folder in (("before", world / "run"), ("after", out)):
        router = folder / "router" / "iteration_3" / "router.safetensors"
        assert told[key]["megabytes"]["router"] == router.stat().st_size / 1e6


def test_commands_take_it(copy: Path, world: Path, tmp_path: Path) -> None:
    small = tmp_path / "moved"
    shutil.copytree(copy / "compressed", small)
    assert moegs.main(["render", f"--save_path={small}", "--skip_train", "--quiet", "--device=cpu"]) == 0
    assert moegs.main(["verify", str(small), "--device=cpu"]) == 0
    coarse = [f"--save_path={small}", "--skip_train", "--quiet", "--device=cpu", "--network_precision=bfloat16"]
    assert moegs.main(["render", *coarse]) == 0
    assert moegs.main(["verify", str(small), "--device=cpu"]) == 0  # in the precision of the results
    assert (
        moegs.main(["prune", str(small), f"--out={tmp_path / 'half'}", "--iterations=0", "--quiet", "--device=cpu"])
        == 0
    )
    experts = [f"--expert={folder.name}={next(folder.iterdir())}" for folder in sorted((small / "experts").iterdir())]
    few = ["--iterations=1", "--test_iterations", "--quiet", "--device=cpu", f"--save_path={tmp_path / 'again'}"]
    scene = [f"--source_path={world / 'film'}", f"--cache_path={world / 'cache'}"]
    assert moegs.main(["train", *scene, *experts, *few]) == 0


def test_training_leaves_it_where_it_is_asked_to(world: Path, tmp_path: Path, capsys) -> None:
    train = ["train", f"--config={world / 'run' / 'config.json'}", "--quiet", "--device=cpu", "--iterations=1"]
    train += ["--test_iterations", f"--save_path={tmp_path / 'run'}", "--compress"]
    assert moegs.main(train) == 2
    assert "--compress makes a small bundle: give --bundle, too" in capsys.readouterr().err
    assert moegs.main([*train, "--bundle"]) == 0
    small = load_run(tmp_path / "run" / "compressed", overrides=ON_CPU)
    assert small.iteration == 1 and is_packed(small.experts[0].provenance.files[-1])
    assert moegs.main([*train, "--bundle", "--overwrite"]) == 0
    assert (tmp_path / "run" / "old-1" / "compressed" / "compressed.json").is_file()


def test_the_copy_of_a_training_keeps_decoded_frames_where_the_training_does(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "film", tmp_path / "film", ignore=shutil.ignore_patterns("frame_cache"))
    train = ["train", f"--config={world / 'run' / 'config.json'}", "--quiet", "--device=cpu", "--iterations=1"]
    train += ["--test_iterations", f"--save_path={tmp_path / 'run'}", "--compress", "--bundle"]
    assert moegs.main([*train, f"--source_path={tmp_path / 'film'}", f"--cache_path={tmp_path / 'decoded'}"]) == 0
    assert (tmp_path / "decoded").is_dir() and not (tmp_path / "film" / "frame_cache").exists()
    assert (tmp_path / "run" / "compressed" / "compressed.json").is_file()


def test_an_interrupt_while_the_loss_is_measured_leaves_nothing(world: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "small"
    prune = ["prune", str(world / "run"), f"--out={out}", "--quiet", "--device=cpu", "--ratio=0", "--iterations=0"]
    prune += ["--rounds=1", "--score=gate", "--score_frames=1", "--compress"]

    def interrupted(run: Run, *, frames: int) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(packing, "mixture_psnr", interrupted)
        assert moegs.main(prune) == 130
    assert not list(tmp_path.iterdir())
    assert moegs.main(prune) == 0
    assert {"compressed.json", "pruned.json"} < {path.name for path in out.iterdir()}


def test_a_link_to_an_empty_folder_stays_and_its_folder_is_filled(world: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    prune = ["prune", str(world / "run"), f"--out={tmp_path / 'link'}", "--quiet", "--device=cpu", "--ratio=0"]
    assert moegs.main([*prune, "--iterations=0", "--rounds=1", "--score=gate", "--score_frames=1"]) == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "pruned.json").is_file()
    assert load_run(tmp_path / "link", overrides=ON_CPU).iteration == 3


def test_an_image_does_not_depend_on_the_order_and_neighbours_stand_together(world: Path) -> None:
    run = load_run(world / "run", overrides=ON_CPU)
    ordered = sorted_along_curve(run)
    for frame in (0, 5):
        images = [mix_view(one, 0, frame).image for one in (run, ordered)]
        torch.testing.assert_close(*images, atol=2e-5, rtol=0)
    steps = [each.experts[1].at(0).means.diff(dim=0).norm(dim=1).mean() for each in (run, ordered)]
    assert steps[1] < 0.7 * steps[0]


def test_the_curve_visits_octants_one_after_the_other() -> None:
    cells = torch.cartesian_prod(*[torch.arange(4.0)] * 3)
    order = curve_order(cells[torch.randperm(64, generator=torch.Generator().manual_seed(0))])
    assert sorted(order.tolist()) == list(range(64))
    placed = cells[torch.randperm(64, generator=torch.Generator().manual_seed(0))][order]
    octants = (placed >= 2).long() @ torch.tensor([4, 2, 1])
    assert octants.tolist() == sorted(octants.tolist())
    assert curve_order(torch.zeros(0, 3)).tolist() == []


def test_a_folder_of_freetime_can_be_packed_and_loaded(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "FreeTime"
    assert train_expert(world / "film", folder, "freetime", "--iterations=2") == 0
    plain = load_expert("FreeTime", folder, LoadOptions(num_frames=FRAMES))
    pack_folder(folder)
    packed = load_expert("FreeTime", folder, LoadOptions(num_frames=FRAMES))
    assert any(is_packed(file) for file in packed.provenance.files) and packed.life == plain.life
    for one, other in zip(plain.parameters(), packed.parameters(), strict=True):
        torch.testing.assert_close(other, one, atol=0.011, rtol=0)
    torch.testing.assert_close(packed.at(2).means, plain.at(2).means, atol=1e-3, rtol=0)


def test_networks_are_halved_where_their_values_fit(tmp_path: Path) -> None:
    state = {"small": torch.tensor([0.1, -3.0]), "large": torch.tensor([1e9]), "whole": torch.tensor([70_000])}
    save_tensors(state, tmp_path / "deformation.pth")
    pack_folder(tmp_path)
    read = load_tensors(tmp_path / "deformation.pth")
    assert [value.dtype for value in read.values()] == [torch.float16, torch.float32, torch.int64]
    assert torch.equal(read["large"], state["large"]) and torch.equal(read["whole"], state["whole"])
    torch.testing.assert_close(read["small"].float(), state["small"], rtol=1e-3, atol=0)


def test_the_page_of_file_formats_has_the_keys(copy: Path, world: Path, tmp_path: Path) -> None:
    few = ["--ratio=0.3", "--iterations=0", "--rounds=1", "--score_frames=1", "--compress", "--quiet", "--device=cpu"]
    assert moegs.main(["prune", str(world / "run"), f"--out={tmp_path / 'small'}", *few]) == 0
    facts = [json.loads((tmp_path / "small" / name).read_text()) for name in ("pruned.json", "compressed.json")]
    told = keys_in(section(PAGE, "pruned.json and compressed.json"))
    assert told == {*facts[0], *facts[1]}
    with next((tmp_path / "small").rglob("point_cloud.ply")).open("rb") as stream:
        assert stream.readline() == b"moegs packed table 2\n"
        length, check = (int.from_bytes(stream.read(4), "little") for _ in range(2))
        header = json.loads(text := stream.read(length))
        assert check == crc32(text)
    assert keys_in(section(PAGE, "Packed tables")) == set(header)
