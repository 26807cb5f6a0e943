"""A forward without gradient is queued and returns: the host waits for nothing, and what is queued stays as it was."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Camera, Layer, rasterize

from ..backends import off, one_thread
from ..random_layers import layer_of
from .cuda_scenes import assert_equal_tensors, forward, to_gpu
from .test_cuda_bits import ragged

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures(one_thread.__name__)]

PATIENCE = 30  # seconds until a host that waits for the GPU is let go, which then fails


@contextmanager
def occupied_gpu() -> Iterator[None]:
    """Holds the stream until the block ends, forbids PyTorch's own waiting, and fails if the host waits for the GPU.

    Kernels are loaded on first use, for which the host waits: those of the block must have run before.
    """
    # cudaMalloc may wait: leave PyTorch's allocator memory of both its kinds.
    spare = [torch.empty(floats, device="cuda") for floats in (2**27, *[2**16] * 200)]
    del spare
    gate = torch.zeros(1, dtype=torch.int32, pin_memory=True)
    torch.cuda.synchronize()
    hold_stream(gate)
    rescue = threading.Timer(PATIENCE, gate.fill_, [1])
    rescue.start()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
        assert gate.item() == 0, "the host waited for the GPU"
    finally:
        rescue.cancel()
        gate.fill_(1)
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()


def hold_stream(gate: torch.Tensor) -> None:
    """Makes the current stream wait until the int32 in pinned memory is at least 1 (cuStreamWaitValue32)."""
    stream, address = torch.cuda.current_stream().cuda_stream, gate.data_ptr()
    wait = ctypes.CDLL("libcuda.so.1").cuStreamWaitValue32_v2
    assert wait(ctypes.c_void_p(stream), ctypes.c_uint64(address), ctypes.c_uint32(1), ctypes.c_uint(0)) == 0


def test_a_host_that_waits_is_seen(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PATIENCE", 0.2)
    with pytest.raises(AssertionError, match="the host waited for the GPU"), occupied_gpu():
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()


def cameras(first: Camera, count: int) -> list[Camera]:
    """Each a little further to the right."""
    moved = []
    for index in range(count):
        matrix = first.world_to_camera.clone()
        matrix[0, 3] += 0.05 * index
        moved.append(replace(first, world_to_camera=matrix))
    return moved


def test_a_forward_does_not_wait():
    layer, camera = layer_of(20_000, 400, 300, sh_degree=3)
    layer = to_gpu(layer)
    wanted = [forward(layer, camera, grad="none").images() for _ in range(3)][-1]
    with occupied_gpu():
        queued = forward(layer, camera, grad="none")
    assert_equal_tensors(queued.images(), wanted)


def test_a_forward_does_not_wait_while_gradients_are_switched_off():
    layer, camera = layer_of(20_000, 400, 300, sh_degree=3)
    layer = to_gpu(layer)
    wanted = [forward(layer, camera, grad="none").images() for _ in range(3)][-1]
    with occupied_gpu(), torch.no_grad():
        queued = rasterize([layer], camera, grad="full", backend="cuda")[0]
    assert torch.equal(off(queued).colour, wanted["colour"])


@pytest.mark.parametrize("count", [1, 5, 14])
def test_many_calls_are_queued_without_disturbing_each_other(count):
    """Views and tables of later calls do not overwrite those of calls that the GPU has not begun."""
    layers, camera = ragged(count, 150, 110)
    layers = [to_gpu(layer) for layer in layers]
    views = cameras(camera, 12)
    wanted = [colours(layers, view) for view in views]
    with occupied_gpu():
        queued = [rasterize(layers, view, backend="cuda") for view in views]
    assert not torch.equal(wanted[0][0], wanted[1][0])
    for splats, images in zip(queued, wanted, strict=True):
        for splat, image in zip(splats, images, strict=True):
            assert torch.equal(splat.colour.cpu(), image)


def test_more_calls_in_flight_than_are_kept_track_of():
    """Here the host may wait, but nothing gets lost."""
    layer, camera = layer_of(300, 60, 40, features=1)
    layer, views = to_gpu(layer), cameras(camera, 20)
    wanted = [colours([layer], view)[0] for view in views]
    torch.cuda._sleep(300_000_000)  # cycles: calls pile up meanwhile
    queued = [rasterize([layer], view, backend="cuda")[0].colour for view in views * 20]
    for colour, image in zip(queued, wanted * 20, strict=True):
        assert torch.equal(colour.cpu(), image)


def colours(layers: list[Layer], camera: Camera) -> list[torch.Tensor]:
    return [splat.colour.cpu() for splat in rasterize(layers, camera, backend="cuda")]


def test_inputs_may_be_freed_before_the_gpu_reads_them():
    """And their memory used again by the same stream, as PyTorch's allocator does."""
    layer, camera = layer_of(20_000, 400, 300, sh_degree=3)
    there = to_gpu(layer)
    wanted = forward(there, camera, grad="none").images()["colour"]
    given = there.gaussians
    assert torch.equal(torch.full_like(given.means + 0, 0.5), 0 * given.means + 0.5)  # loads the block's kernels
    with occupied_gpu():
        copies = replace(given, means=given.means + 0, sh=given.sh + 0, opacities=given.opacities + 0)
        splat = rasterize([replace(there, gaussians=copies)], camera, backend="cuda")[0]
        del copies
        rubbish = [torch.full_like(tensor, 0.5) for tensor in (given.sh, given.means, given.opacities)]
    assert torch.equal(splat.colour.cpu(), wanted)
    assert float(rubbish[0].mean()) == 0.5
