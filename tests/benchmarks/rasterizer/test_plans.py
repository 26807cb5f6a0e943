"""Plans, times and whole table of the GPU's benchmark, on the CPU; a stand-in module acts as gsplat."""

from __future__ import annotations

import math
import re
import sys
import types

import pytest
import torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize

from benchmarks.rasterizer import cuda_table, gsplat_calls
from benchmarks.rasterizer.measurement import Spread, Work, measure, spread
from benchmarks.rasterizer.plans import apart, one_by_one, render, together, trained_like_frame, work_of

CPU = torch.device("cpu")
TINY = cuda_table.Sizes(counts=(30,), ensemble=20, size=(40, 24), repeats=3, has_goals=False)


def test_measuring_rotates_the_sets_and_tells_the_backward_pass_apart():
    seen: list[int] = []
    work = Work(forward=lambda index: seen.append(index) or index + 10, backward=lambda index, out: seen.append(out))
    whole, backward = measure(work, CPU, sets=3, repeats=4)
    warm_up, timed = [0, 10, 1, 11, 2, 12], [0, 10, 1, 11, 2, 12, 0, 10]
    assert seen == 2 * warm_up + 2 * timed
    assert 0 <= backward.queued.median <= whole.queued.median
    assert spread([3.0, 1.0, 2.0, 10.0]) == Spread(median=2.5, least=1.0, most=10.0)


def _frame(seed: int = 0):
    return trained_like_frame(count=20, layers=2, features=3, size=(40, 24), seed=seed, device=CPU)


@pytest.mark.parametrize(
    ("plan", "calls", "images", "leaves"),
    [
        (together("none"), 1, 0, 0),
        (together("features"), 1, 2, 2),
        (together("full"), 1, 4, 12),
        (one_by_one("features"), 2, 2, 2),
        (apart("none", "none"), 4, 0, 0),
        (apart("none", "features"), 4, 2, 2),
        (apart("none", "full"), 4, 2, 10),
        (apart("full", "full"), 4, 4, 20),
    ],
)
def test_plans_make_their_calls_and_gradients(plan, calls, images, leaves):
    frame = _frame()
    made = plan(frame.layers)
    assert len(made) == calls
    work = work_of([frame], plan)
    outputs = work.forward(0)
    assert [tuple(image.shape) for image in outputs] == images * [(3, 24, 40)]
    tensors = [
        tensor
        for call in made
        for layer in call.layers
        for tensor in (*(getattr(layer.gaussians, name) for name in Gaussians.__slots__), layer.features)
        if tensor is not None and tensor.requires_grad
    ]
    assert len(tensors) == leaves
    if leaves:
        work.backward(0, outputs)  # raises where an image does not reach a leaf
    else:
        assert work.backward is None


def test_all_plans_render_the_same_images():
    frame = _frame(3)
    one = render(together("none")(frame.layers), frame.camera)
    each = render(one_by_one("none")(frame.layers), frame.camera)
    split = render(apart("none", "none")(frame.layers), frame.camera)
    for index in range(2):
        assert torch.equal(one[index].colour, each[index].colour)
        assert torch.equal(one[index].features, each[index].features)
        assert torch.equal(one[index].colour, split[index].colour)
        torch.testing.assert_close(one[index].features, split[2 + index].colour)


def _stand_in(**changes) -> types.ModuleType:
    """A module with gsplat's call that renders with ours."""

    def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **options):
        assert options == {"sh_degree": 3, "packed": False, "near_plane": 0.2, "eps2d": 0.3, "render_mode": "RGB"}
        (matrix,), (((fx, _, cx), (_, fy, cy), _),) = viewmats, Ks.tolist()
        camera = Camera(world_to_camera=matrix, fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)
        gaussians = Gaussians(means=means, quats=quats, scales=scales, opacities=opacities, sh=colors)
        layer = Layer(gaussians=gaussians, settings=RasterSettings(), background=torch.zeros(3))
        colour = rasterize([layer], camera, grad="full", backend="torch")[0].colour
        return colour.permute(1, 2, 0)[None], None, {"tiles_per_gauss": torch.tensor([[2, 3]])}

    module = types.ModuleType("gsplat")
    module.__dict__.update({"__version__": "1.5.3", "rasterization": rasterization, **changes})
    return module


def test_gsplat_is_called_with_the_same_scene(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gsplat", _stand_in())
    frame = trained_like_frame(count=20, layers=1, features=0, size=(40, 24), seed=1, device=CPU)
    assert cuda_table._gsplat_runs(frame)
    psnr = re.fullmatch(r"gsplat 1\.5\.3: (.*) dB PSNR to ours, 5 tile pairs\n", capsys.readouterr().out)
    assert psnr is not None
    assert float(psnr[1]) > 100
    work = gsplat_calls.gsplat_work([frame], "full")
    work.backward(0, work.forward(0))
    image = gsplat_calls.gsplat_work([frame], "none").forward(0)
    assert not image.requires_grad


def test_gsplat_that_cannot_render_is_left_out(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise RuntimeError("nvcc not found")

    frame = trained_like_frame(count=2, layers=1, features=0, size=(16, 16), seed=1, device=CPU)
    monkeypatch.setitem(sys.modules, "gsplat", _stand_in(rasterization=fail))
    assert not cuda_table._gsplat_runs(frame)
    assert "gsplat 1.5.3 is installed but cannot render" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "gsplat", None)
    assert not cuda_table._gsplat_runs(frame)
    assert "gsplat is not installed" in capsys.readouterr().out


def test_agreement_in_decibels():
    assert gsplat_calls.agreement(torch.zeros(4), torch.full((4,), 0.1)) == pytest.approx(20)
    assert gsplat_calls.agreement(torch.ones(4), torch.ones(4)) == math.inf


def test_whole_table_on_the_cpu(capsys):
    cuda_table.print_gpu_table(CPU, TINY, seed=0)
    printed = capsys.readouterr().out
    names = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("|")]
    layer = [f"30, {step}, ours" for step in (cuda_table.FORWARD, cuda_table.FULL_STEP)]
    for name in (*layer, *cuda_table.PLANS, *cuda_table.BACKWARDS.values()):
        assert names.count(name) == 1
    assert "between one launch and four calls: 0;" in printed
    assert not re.search(r"\bmet\b", printed)
    assert "missed" not in printed
