"""Files of other programs are experts: alone, in folders, and as copies that commands make."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import ConfigError
from engine.settings.parsing.paths import check_expert
from engine.training.expert.choice import choose_preset, expert_of_key
from experts import EXPERTS, CheckpointError, LoadOptions, load_expert
from experts.recognition import expert_of_folder
from experts.splats.container import ROOM, coded_4dgs, read_4dgs, write_4dgs
from experts.splats.frame_files import write_frame
from experts.splats.model import Splats
from tests.experts.splats.test_splats_files import CENTRES, FINE, FRAMES, made_up, seen

CLIP = LoadOptions(num_frames=FRAMES)


def file_of(folder: Path) -> Path:
    path = folder / "scene.4dgs"
    write_4dgs(path, made_up(), fps=25, grid=FINE, cameras=CENTRES, facts={})
    return path


def frames_of(folder: Path) -> Path:
    folder.mkdir()
    for frame in range(FRAMES):
        write_frame(folder / f"time_{frame:05d}.ply", made_up().at(frame))
    return folder


def load(path: Path) -> Splats:
    expert = load_expert("Splats", path, CLIP)
    assert isinstance(expert, Splats) and expert.name == "Splats" and expert.provenance.notes
    return expert


def test_a_file_and_the_folder_it_is_in_are_the_same_expert(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    for given in (path, tmp_path):
        assert torch.equal(load(given).at(2).means, load(path).at(2).means)
    assert load(path).provenance.files == (path,)
    assert expert_of_folder(tmp_path, None, experts=EXPERTS.values()) is EXPERTS["Splats"]


def other_file(folder: Path) -> Path:
    """The file as another program writes it: 6 frames at 25 frames a second, of which it tells the seconds alone."""
    path, data = folder / "scene.4dgs", coded_4dgs(made_up(), fps=25, grid=FINE, cameras=CENTRES).data
    path.write_bytes(data.replace(ROOM.encode(), b"{}".ljust(len(ROOM)), 1))
    return path


def test_the_seconds_of_another_programs_file_are_frames_at_the_rate_of_the_clip(tmp_path: Path) -> None:
    path = other_file(tmp_path)
    whole = load_expert("Splats", path, LoadOptions(num_frames=FRAMES, frame_rate=25.0))
    assert whole.provenance.notes == ("6 frames (0.24 s at the clip's 25 frames a second), 60 splats",)
    (tmp_path / "ours").mkdir()
    ours = load(file_of(tmp_path / "ours"))
    assert all(torch.allclose(ours.at(frame).means, whole.at(frame).means, atol=1e-6) for frame in range(FRAMES))
    longer = load_expert("Splats", path, LoadOptions(num_frames=3, frame_rate=25.0))
    assert torch.equal(longer.at(2).means, whole.at(2).means)
    assert longer.provenance.notes[1].startswith(
        "warning: has 6 frames (0.24 s at the clip's 25 frames a second), and the clip 3: the first 3 are shown"
    )
    faster = load_expert("Splats", path, LoadOptions(num_frames=2 * FRAMES, frame_rate=50.0))
    assert torch.allclose(faster.at(4).means, whole.at(2).means, atol=1e-6)
    short = r"has 6 frames \(0.24 s at the clip's 25 frames a second\), and the clip 9; give a shorter clip with"
    with pytest.raises(CheckpointError, match=short):
        load_expert("Splats", path, LoadOptions(num_frames=9, frame_rate=25.0))


def test_seconds_until_the_moment_of_the_last_frame_are_the_whole_clip(tmp_path: Path) -> None:
    path = other_file(tmp_path)
    assert (made_up().windows[:, 1] < FRAMES).all()
    reaching = load_expert("Splats", path, LoadOptions(num_frames=FRAMES + 1, frame_rate=25.0))
    said = "7 frames (0.24 s at the clip's 25 frames a second, until the moment of the clip's last frame), 60 splats"
    assert reaching.num_frames == FRAMES + 1
    assert reaching.provenance.notes == (said,)
    whole = load_expert("Splats", path, LoadOptions(num_frames=FRAMES, frame_rate=25.0))
    assert all(torch.equal(reaching.at(frame).means, whole.at(frame).means) for frame in range(FRAMES))
    with pytest.raises(CheckpointError, match="has 6 frames"):
        load_expert("Splats", path, LoadOptions(num_frames=FRAMES + 2, frame_rate=25.0))


def test_a_clip_of_images_takes_another_programs_file_as_the_whole_clip(tmp_path: Path) -> None:
    path = other_file(tmp_path)
    stretched = load_expert("Splats", path, LoadOptions(num_frames=2 * FRAMES))
    said = "12 frames (0.24 s, taken to be the whole clip, whose images have no frame rate), 60 splats"
    assert stretched.provenance.notes == (said,)
    whole = load_expert("Splats", path, CLIP)
    assert torch.allclose(stretched.at(4).means, whole.at(2).means, atol=1e-6)
    assert read_4dgs(path).num_frames == 7  # by itself, at 30 frames a second


def test_a_sequence_has_rows_of_its_own_for_every_frame(tmp_path: Path) -> None:
    folder = frames_of(tmp_path / "frames")
    expert = load(folder)
    assert expert.num_gaussians == sum(made_up().at(frame).count for frame in range(FRAMES))
    rows = [expert.rows(frame) for frame in range(FRAMES)]
    assert [each.start for each in rows[1:]] == [each.stop for each in rows[:-1]]
    assert expert.background == (0.0, 0.0, 0.0) and len(expert.provenance.files) == FRAMES
    (folder / "cfg_args").write_text("Namespace(white_background=True)")
    assert load(folder).background == (1.0, 1.0, 1.0)
    assert expert_of_folder(folder, None, experts=EXPERTS.values()) is EXPERTS["Splats"]


def test_copies_that_commands_make_are_the_same(tmp_path: Path) -> None:
    spec, expert = EXPERTS["Splats"], load(file_of(tmp_path))
    weights = torch.randn(expert.num_gaussians, 3)
    spec.write_routed(expert, tmp_path / "copy", 7, weights)
    again = load(tmp_path / "copy")
    assert again.provenance.iteration == 7 and again.num_frames == FRAMES
    for frame in range(FRAMES):
        ours, theirs = seen(expert.at(frame)), seen(again.at(frame))
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)
    assert torch.equal(spec.read_routed(tmp_path / "copy", None), weights)
    assert expert_of_folder(tmp_path / "copy", None, experts=EXPERTS.values()) is spec


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"has 6 frames \(0.24 s, as the file says\), and the clip 9; give a shorter clip with"
    ):
        load_expert("Splats", path, LoadOptions(num_frames=9))
    (tmp_path / "one_1.ply").touch()
    with pytest.raises(CheckpointError, match=r"one_1.ply: give a .4dgs file, or the folder of PLY files"):
        load_expert("Splats", tmp_path / "one_1.ply", CLIP)
    (tmp_path / "other.4dgs").write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"has 2 .4dgs files \(other.4dgs, scene.4dgs\); give one of them"):
        load_expert("Splats", tmp_path, CLIP)
    for expert, wanted in (
        ("Splats", r"a file \*.4dgs, or the folder of the files"),
        ("Videos", "the folder of the pic"),
    ):
        with pytest.raises(ConfigError, match=f"--expert: is a file; give {wanted}"):
            check_expert("--expert", Path(__file__), expert)
    with pytest.raises(ConfigError, match="no expert is called 'splats'"):
        expert_of_key("splats")
    with pytest.raises(ConfigError, match="Splats cannot be trained: its files are of other programs"):
        choose_preset(EXPERTS["Splats"], "auto", scene="mine", layout="n3v")
