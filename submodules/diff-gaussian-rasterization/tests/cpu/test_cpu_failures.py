"""Memory that runs out within an operator of the C++ library: an error of one line, in a process that lives on."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import torch
from moegs_rasterizer.cpu import loading
from moegs_rasterizer.cpu.backend import operators

from ..backends import require

LINE = (
    r"out of memory: the rasterizer (asks for \d+\.\d\d GB|has no room for its lists); end other processes on this "
    r"machine, or use smaller images or fewer Gaussians"
)
# Two layers, so that both of two threads sort lists; the room grows until the work succeeds.
STARVED = """
import json, resource, torch
from moegs_rasterizer import Camera, Gaussians, Layer, RasterSettings, rasterize
torch.set_num_threads(2)
size, count, megabyte = 150, 40_000, 2**20
made = torch.Generator().manual_seed(0)
def random(*shape):
    return torch.rand(*shape, generator=made)
camera = Camera(world_to_camera=torch.eye(4), fx=size, fy=size, cx=size / 2, cy=size / 2, width=size, height=size)
means = random(count, 3) * 2 - 1 + torch.tensor([0, 0, 3.0])
scales, quats, opacities, colours = random(count, 3) * 0.05, random(count, 4), random(count), random(count, 3)
def work():
    given = means.clone().requires_grad_()
    cloud = Gaussians(means=given, scales=scales, quats=quats, opacities=opacities, colours=colours)
    layer = Layer(gaussians=cloud, features=None, background=torch.zeros(3), settings=RasterSettings())
    images = [splat.colour for splat in rasterize([layer, layer], camera, grad="full", backend="cpu")]
    torch.stack(images).sum().backward()
    return images[0].detach()
wanted = work()
told = []
for room in [0, *(1.8**step for step in range(1, 12))]:
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(room * megabyte), resource.RLIM_INFINITY))
    try:
        work()
    except RuntimeError as error:
        told.append([type(error).__name__, str(error)])
    else:
        break
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps({"told": told, "same": torch.equal(work(), wanted)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the process's memory as Linux does")
def test_memory_that_runs_out_is_an_error_of_one_line_in_a_living_process():
    require("cpu")
    child = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    own = [text for kind, text in found["told"] if kind == "OutOfMemoryError"]
    assert own and all(re.fullmatch(LINE, text) for text in own), found["told"]
    others = [text for kind, text in found["told"] if kind != "OutOfMemoryError"]
    assert all("DefaultCPUAllocator" in text for text in others), others  # PyTorch's own, out of an operator of its own
    assert found["same"]


def test_an_input_that_does_not_fit_is_an_error_of_one_line():
    require("cpu")
    rows = [torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 4), torch.ones(2), torch.zeros(2, 1, 3)]
    with pytest.raises(RuntimeError, match=r"^view has the wrong number of values$"):
        operators().project(*rows, torch.zeros(3, dtype=torch.float64), loading.ISAS.index("portable"))
    assert bytes(torch.ops.moegs_rasterizer.last_failure()) == b""  # it was told, and is forgotten
