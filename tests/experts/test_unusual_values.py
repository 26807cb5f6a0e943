"""Healthy models with unusual values: opacity logits that are infinite, spherical harmonics of a lower degree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Gaussians

from engine.runs.device import CPU, ComputeDevice
from engine.runs.experts.images import image_of
from experts import EXPERTS, LoadOptions, load_expert
from experts.ex4dgs.chkpnt import read_chkpnt
from experts.formats.ply import read_ply, write_ply

NAMES = ("Ex4DGS", "E-D3DGS", "STG", "4DGaussians")


@pytest.fixture
def camera() -> Camera:
    return Camera(world_to_camera=torch.eye(4), fx=24, fy=24, cx=12, cy=8, width=24, height=16)


def saved(name: str, folder: Path) -> list[Path]:
    """A model of twelve Gaussians before the camera; returns its tables."""
    torch.manual_seed(0)  # of the networks, too
    generator = torch.Generator().manual_seed(0)
    values = {
        key: torch.rand(12, *shape, generator=generator)
        for key, shape in {"means": (3,), "scales": (3,), "quats": (4,), "opacities": ()}.items()
    }
    values["means"] = values["means"] + torch.tensor([-0.5, -0.5, 2.0])
    values["scales"], values["opacities"] = 0.1 + 0.2 * values["scales"], 0.3 + 0.5 * values["opacities"]
    sh = 0.3 * torch.randn(12, 16, 3, generator=generator)
    EXPERTS[name].save(EXPERTS[name].random_model(Gaussians(**values, sh=sh)), folder, 1)
    return sorted(folder.rglob("*point_cloud.ply"))


def rewritten(path: Path, **columns: float) -> None:
    """Sets the first value of some columns, and the second to the negative."""
    table = read_ply(path)
    for name, value in columns.items():
        column = table.names.index(name)
        table.matrix[0, column], table.matrix[1, column] = value, -value
    write_ply(path, table.names, table.matrix)


def image(name: str, folder: Path, camera: Camera) -> torch.Tensor:
    expert = load_expert(name, folder, LoadOptions(num_frames=2, near=0.2))
    return image_of(expert, camera, 0, compute=ComputeDevice(device=CPU, backend="auto"))


@pytest.mark.parametrize("name", NAMES)
def test_infinite_opacity_logits_show_opacities_of_one_and_zero(tmp_path, camera, name):
    images = {}
    for label, value in (("finite", 60.0), ("infinite", np.inf), ("other", 0.0)):
        for path in saved(name, tmp_path / label):
            names = read_ply(path).names
            rewritten(path, **{column: value for column in ("opacity", "motion_opacity") if column in names})
        images[label] = image(name, tmp_path / label, camera)
    assert torch.equal(images["infinite"], images["finite"])
    assert not torch.allclose(images["infinite"], images["other"], atol=1e-3)


LOWER = [(name, degree) for name in NAMES for degree in (0, 1, 2)]
LOWER.remove(("STG", 0))  # without f_rest_* it is the lite variant, whose three columns are colours


@pytest.mark.parametrize(("name", "degree"), LOWER)
def test_a_lower_sh_degree_shows_what_zeros_above_it_show(tmp_path, camera, name, degree):
    kept = (degree + 1) ** 2 - 1
    for label in ("short", "zeros"):
        for path in saved(name, tmp_path / label):
            table = read_ply(path)
            rest = {column: int(column.split("_")[-1]) for column in table.names if "f_rest_" in column}
            above = [column for column, number in rest.items() if number % 15 >= kept]
            for column in above:
                table.matrix[:, table.names.index(column)] = 0
            names = list(table.names)
            if label == "short":
                left = [names.index(column) for column in names if column not in above]
                names = [names[column] for column in left]
                ordered = iter(range(3 * kept))
                names = [f"{n.split('f_rest_')[0]}f_rest_{next(ordered)}" if "f_rest_" in n else n for n in names]
                write_ply(path, names, table.matrix[:, left])
            else:
                write_ply(path, names, table.matrix)
    assert torch.equal(image(name, tmp_path / "short", camera), image(name, tmp_path / "zeros", camera))


def test_an_ex4dgs_chkpnt_may_have_them_too(shared, tmp_path):
    source = shared("reference/experts") / "Ex4DGS/kitchen_tiny/chkpnt6000.pth"
    capture, iteration = torch.load(source, weights_only=False, map_location="cpu")
    entries = list(capture)
    with torch.no_grad():
        entries[6] = entries[6].detach().clone()
        entries[6][0] = float("inf")
    torch.save((tuple(entries), iteration), tmp_path / "chkpnt6000.pth")
    assert read_chkpnt(tmp_path / "chkpnt6000.pth", trust=True).static.opacity_logits[0] == float("inf")
