"""Splats come back from files of other programs as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from moegs_rasterizer import Gaussians, RasterSettings
from moegs_rasterizer.reference.sh import sh_basis
from torch import Tensor

from experts.base import CheckpointError
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.container import Grid, read_4dgs, write_4dgs
from experts.splats.frame_files import frame_files, read_sequence, write_frame
from experts.splats.model import Splats
from experts.splats.sh_bytes import UNIT, harmonic_bytes

FRAMES = 6
FINE = Grid(profile="fine", sh_steps=(1, 1, 1))
CENTRES = [torch.tensor([0.1 * x, 0.0, -4.0]) for x in range(5)]


def made_up(count: int = 60) -> Splats:
    """Random splats: two thirds that do not fade, and windows of different lengths."""
    torch.manual_seed(0)
    first = torch.randint(0, FRAMES, (count,)).float()
    last = torch.minimum(first + torch.randint(0, FRAMES, (count,)), torch.tensor(FRAMES - 1.0))
    return Splats(
        gaussians=CanonicalGaussians(
            means=torch.rand(count, 3) * 2,
            log_scales=torch.rand(count, 3) - 3,
            quats=torch.nn.functional.normalize(torch.randn(count, 4), dim=1),
            opacity_logits=torch.randn(count),
            sh_dc=0.5 * torch.randn(count, 1, 3),
            sh_rest=0.1 * torch.randn(count, 15, 3),
        ),
        times=(first + last) / 2,
        widths=torch.where(torch.arange(count) % 3 == 0, 1.0 + torch.rand(count), torch.inf),
        velocities=0.05 * torch.randn(count, 3),
        windows=torch.stack([first - 0.5, last + 0.5], dim=1),
        num_frames=FRAMES,
        settings=RasterSettings(low_pass=0.1, compensate=True, near=0.5, far=12.0),
        background=(1.0, 1.0, 1.0),
    ).requires_grad_(False)


def seen(gaussians: Gaussians) -> dict[str, Tensor]:
    """What a frame shows, in an order that does not depend on the file: along the first axis."""
    there = torch.nonzero(gaussians.opacities > 0)[:, 0]
    order = there[gaussians.means[there, 0].argsort()]
    values = {name: getattr(gaussians, name)[order] for name in ("means", "scales", "opacities", "sh")}
    quats = gaussians.quats[order]
    return values | {"quats": quats * quats[:, :1].sign()}


def test_a_4dgs_file_comes_back_within_its_grid(tmp_path: Path) -> None:
    splats = made_up()
    path = tmp_path / "scene.4dgs"
    write_4dgs(path, splats, fps=25, grid=FINE, cameras=CENTRES, facts={"content": "made up"})
    back = read_4dgs(path)
    assert (back.num_frames, back.settings, back.background) == (FRAMES, splats.settings, splats.background)
    for frame in (0, 1, 2.4, FRAMES - 1):
        ours, theirs = seen(splats.at(frame)), seen(back.at(frame))
        assert torch.allclose(ours["means"], theirs["means"], atol=5e-3)
        assert torch.allclose(ours["scales"], theirs["scales"], rtol=0.02)
        assert torch.allclose(ours["opacities"], theirs["opacities"], atol=0.01)
        assert torch.allclose(ours["quats"].abs(), theirs["quats"].abs(), atol=5e-3)


def test_rounded_harmonics_have_the_right_colours_where_the_cameras_stand() -> None:
    splats = made_up(200)
    means, sh = splats.gaussians.means, torch.cat([splats.gaussians.sh_dc, splats.gaussians.sh_rest], dim=1)
    sh = sh.clamp(max=0.4 / 0.2821)  # no constant above 1
    coded = harmonic_bytes(sh, means, cameras=CENTRES, steps=(1, 1, 1))
    rest = (coded.codes.float() - 127.5).unflatten(1, (3, 15)).transpose(1, 2) * UNIT
    assert (rest - sh[:, 1:]).abs().max() < 1.01 * UNIT
    directions = torch.nn.functional.normalize(means - CENTRES[2], dim=1)
    basis = sh_basis(directions, 16)[:, :, None]
    together = ((torch.cat([coded.dc[:, None], rest], dim=1) - sh) * basis).sum(dim=1)
    one_by_one = (((sh[:, 1:] / UNIT + 0.5).round() - 0.5) * UNIT - sh[:, 1:]) * basis[:, 1:]
    assert together.square().mean() < one_by_one.sum(dim=1).square().mean() / 20


def test_degrees_without_coefficients_take_no_bytes() -> None:
    sh = torch.zeros(4, 16, 3)
    means = torch.rand(4, 3)
    assert harmonic_bytes(sh, means, cameras=CENTRES, steps=(1, 1, 1)).degree == 0
    sh[:, 2] = 0.3
    assert harmonic_bytes(sh, means, cameras=CENTRES, steps=(1, 1, 1)).codes.shape == (4, 9)
    bright = torch.zeros(4, 16, 3)
    bright[:, 0] = 0.9 / 0.2821  # a colour of 1.4, which the format's constant cannot hold
    coded = harmonic_bytes(bright, means, cameras=CENTRES, steps=(1, 1, 1))
    rest = (coded.codes.float() - 127.5).unflatten(1, (3, 3)).transpose(1, 2) * UNIT
    basis = sh_basis(torch.nn.functional.normalize(means - CENTRES[2], dim=1), 4)[:, :, None]
    colours = (torch.cat([coded.dc[:, None], rest], dim=1) * basis).sum(dim=1) + 0.5
    assert torch.allclose(colours, torch.full_like(colours, 1.4), atol=0.03)


def test_frames_of_ply_files_come_back_as_they_were(tmp_path: Path) -> None:
    splats = made_up()
    for frame in range(FRAMES):
        gaussians = splats.at(frame)
        there = gaussians.opacities > 0
        shown = {name: getattr(gaussians, name)[there] for name in ("means", "scales", "quats", "opacities", "sh")}
        write_frame(tmp_path / f"frame_{frame}.ply", Gaussians(**shown))
    back = read_sequence(frame_files(tmp_path))
    for frame in range(FRAMES):
        ours, theirs = seen(splats.at(frame)), seen(back.at(frame))
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
        assert back.rows(frame).stop - back.rows(frame).start == len(ours["means"])  # of this frame alone


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no .ply file in it; give a folder with one for each frame"),
        (["a.ply", "frame_1.ply"], "no number in its name; name the files by their frames"),
        (["a_01.ply", "b_1.ply"], "has the number of a_01.ply; give one file for each frame"),
    ],
)
def test_files_that_are_no_sequence_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=message):
        frame_files(tmp_path)


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 11):
        (tmp_path / f"frame_{number}.ply").touch()
    assert [path.name for path in frame_files(tmp_path)] == ["frame_9.ply", "frame_10.ply", "frame_11.ply"]
    (tmp_path / "frame_14.ply").touch()
    with pytest.raises(CheckpointError, match=r"has frame_11.ply, and no file 12; give one for each frame"):
        frame_files(tmp_path)


def test_a_damaged_4dgs_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scene.4dgs"
    write_4dgs(path, made_up(), fps=25, grid=FINE, cameras=CENTRES, facts={})
    for content in (b"", b"not this", path.read_bytes()[:-200]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"scene.4dgs: not a readable .4dgs file"):
            read_4dgs(path)
