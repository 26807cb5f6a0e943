"""The device that COLMAP is told to use."""

from types import SimpleNamespace

import pytest

from scenes.preparation.sfm.matching import device_for

DEVICES = SimpleNamespace(cpu="cpu", cuda="cuda")


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu"), (1, "cuda"), (4, "cuda")])
def test_cuda_wheel_uses_a_gpu_only_where_there_is_one(gpus: int, device: str) -> None:
    wheel = SimpleNamespace(has_cuda=True, get_num_cuda_devices=lambda: gpus, Device=DEVICES)
    assert device_for(wheel) == device


def test_cpu_wheel_counts_no_gpus() -> None:
    wheel = SimpleNamespace(has_cuda=False, Device=DEVICES)  # has no get_num_cuda_devices
    assert device_for(wheel) == "cpu"
