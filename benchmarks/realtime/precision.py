"""The price of networks in less than float32, in dB: the demo's trained experts beside the true images of its scene."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from moegs_rasterizer import Camera, Layer, rasterize
from torch import Tensor, nn

from common.maths.tensors import constant, image_from_uint8
from common.text.tables import Column, table_lines
from demo.playroom import RigSize, rig_cameras
from demo.playroom.film import film_camera
from demo.playroom.world import demo_world
from engine.evaluation.measures.psnr import psnr
from engine.runs.device import ComputeDevice, wait
from experts import Expert, LoadOptions, load_expert
from experts.base import Precision
from experts.kept_frames import ExpertFrames

EXPERTS_FOLDER = Path(__file__).parents[2] / "demo" / "experts"
WITH_NETWORKS = ("E-D3DGS", "4DGaussians")
PRECISIONS: tuple[Precision, ...] = ("tf32", "float16", "bfloat16")
MOST_LOST = 0.01  # dB of PSNR that a default may cost
COLUMNS = (
    Column(heading="expert", gap=0, width=12, left=True),
    Column(heading="networks in", gap=2, width=11, left=True),
    Column(heading="PSNR, dB", gap=2),
    Column(heading="less than in float32", gap=2),
    Column(heading="PSNR to float32's image, least", gap=2),
    Column(heading=f"at most {MOST_LOST} dB lost at a frame", gap=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a precision in an expert's images."""

    psnr: float  # mean over frames, to the true images, dB
    lost: tuple[float, ...]  # of each frame: float32's PSNR less its own, dB
    likeness: float  # least PSNR to the images of float32, dB


def price_of(
    expert: Expert, precision: Precision, camera: Camera, truths: dict[int, Tensor], compute: ComputeDevice
) -> Price:
    """Compares an expert's images in a precision with those in float32 and with the true ones [3, h, w] by frame."""
    values, lost, likeness = [], [], []
    for frame, truth in truths.items():
        exact, rough = (_image(expert, each, camera, frame, compute) for each in ("float32", precision))
        values.append(psnr(rough.clamp(0, 1), truth))
        lost.append(psnr(exact.clamp(0, 1), truth) - values[-1])
        likeness.append(psnr(rough, exact))
    return Price(psnr=statistics.fmean(values), lost=tuple(lost), likeness=min(likeness))


def precision_table(
    compute: ComputeDevice, *, precisions: Sequence[Precision] = PRECISIONS, step: int = 3
) -> list[str]:
    """Lines of a table of the demo's experts at its held-out camera, at every third frame."""
    size = RigSize()
    camera = rig_cameras(size)[0]
    film = film_camera(demo_world(), camera, num_frames=size.num_frames)
    truths = {
        frame: image_from_uint8(torch.from_numpy(film[frame])).to(compute.device)
        for frame in range(0, size.num_frames, step)
    }
    return table_lines(COLUMNS, list(_rows(camera, truths, compute, precisions, num_frames=size.num_frames)))


def _rows(
    camera: Camera,
    truths: dict[int, Tensor],
    compute: ComputeDevice,
    precisions: Sequence[Precision],
    *,
    num_frames: int,
) -> Iterator[list[str]]:
    for name in WITH_NETWORKS:
        expert = load_expert(name, EXPERTS_FOLDER / name, LoadOptions(num_frames=num_frames))
        assert isinstance(expert, nn.Module)
        expert.eval().requires_grad_(False).to(compute.device)
        for precision in precisions:
            price = price_of(expert, precision, camera, truths, compute)
            lost = f"{statistics.fmean(price.lost):+.4f} ({min(price.lost):+.4f} to {max(price.lost):+.4f})"
            fits = "yes" if max(price.lost) <= MOST_LOST else "no"
            yield [name, precision, f"{price.psnr:.3f}", lost, f"{price.likeness:.1f}", fits]


@torch.no_grad()
def _image(expert: Expert, precision: Precision, camera: Camera, frame: int, compute: ComputeDevice) -> Tensor:
    gaussians = ExpertFrames(precision=precision).of(expert, frame).gaussians
    background = constant(expert.background, gaussians.means.dtype, gaussians.means.device)
    layer = Layer(gaussians=gaussians, settings=expert.settings, background=background)
    splat = rasterize([layer], camera, backend=compute.backend)[0]
    wait(compute)
    return splat.colour
