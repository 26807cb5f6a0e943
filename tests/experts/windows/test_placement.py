"""Windows on a device: those that are shown lie there, and images, gradients and kept frames are those of all there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.runs.cost import shown_bytes, tensor_bytes
from engine.runs.device import CPU, ComputeDevice
from engine.runs.run import Run, mix_camera
from experts.kept_frames import ExpertFrames
from experts.windows.folders import Window
from experts.windows.model import Unfaded, WindowedExpert, on_device
from experts.windows.placement import Placement, home_of
from router import Router
from tests.small_world import CloudExpert, camera, small_run

WINDOWS = tuple(Window(first=3 * index, last=3 * index + 3) for index in range(5))  # of a clip of 16 frames
ORDER = (0, 14, 7, 3, 3, 15, 9, 1, 6, 12, 0)  # the seams are at 3, 6, 9 and 12


class Device:
    """Stands in for a device: counts the copies of tensors to it."""

    def __init__(self) -> None:
        self.copies = 0

    def take(self, tensor: Tensor) -> Tensor:
        self.copies += 1
        return tensor.clone()


def windowed(placement: Placement | None) -> WindowedExpert:
    models = [CloudExpert("STG", 20 + index, colour=0.2 * index).requires_grad_(False) for index in range(len(WINDOWS))]
    return WindowedExpert(WINDOWS, models, placement=placement)


def run_with(run: Run, expert: WindowedExpert) -> Run:
    other = windowed(None)
    other.name = "Ex4DGS"
    experts = (expert, other)
    torch.manual_seed(3)
    router = Router([each.name for each in experts], [each.num_gaussians for each in experts])
    for table in (*router.features.static, *router.features.temporal):
        table.data += 0.5 * torch.randn_like(table)
    return replace(run, experts=experts, router=router, backend="torch", scene=replace(run.scene, num_frames=16))


def bytes_there(expert: WindowedExpert) -> int:
    tensors = (*expert.parameters(), *expert.buffers())
    return sum(tensor.nbytes for tensor in tensors if home_of(tensor) is not tensor)


def test_at_most_two_windows_are_there_and_all_bits_are_those_of_all_there(tmp_path):
    device = Device()
    run = small_run(tmp_path, ComputeDevice(device=CPU, backend="torch"))
    placed, whole = run_with(run, windowed(Placement(device.take))), run_with(run, windowed(None))
    expert = placed.experts[0]
    one, most = tensor_bytes(expert.models[0]), 0
    for frame in ORDER:
        images = []
        for each in (placed, whole):
            each.router.zero_grad(set_to_none=True)
            images.append(mix_camera(each, camera(0), frame, grad="features", temperature=1.0).image)
            images[-1].square().sum().backward()
        assert torch.equal(*images)
        assert torch.equal(*(each.router.features.static[0].grad for each in (placed, whole)))
        most = max(most, bytes_there(expert))
    assert 0 < most <= 2 * one == shown_bytes(expert) < tensor_bytes(expert) == shown_bytes(whole.experts[0])
    tensors = len(expert.models[0].state_dict())
    assert device.copies == tensors * len("04201423012340"), "each window that was not there when it was shown"


def test_kept_frames_outlive_the_windows_that_they_are_of(tmp_path):
    device = Device()
    run = small_run(tmp_path, ComputeDevice(device=CPU, backend="torch"))
    run = replace(run_with(run, windowed(Placement(device.take))), frames=ExpertFrames(most=2**26))
    first = [mix_camera(run, camera(0), frame, temperature=1.0).image for frame in ORDER]
    copies = device.copies
    again = [mix_camera(run, camera(0), frame, temperature=1.0).image for frame in ORDER]
    assert all(map(torch.equal, first, again)) and device.copies == copies
    with torch.no_grad():
        run.experts[0].experts[0].means += 1.0  # a change is seen, wherever the window lies
    assert not torch.equal(mix_camera(run, camera(0), 0, temperature=1.0).image, first[0])


@pytest.mark.parametrize("replaced", [False, True])
def test_what_was_changed_on_the_device_comes_back(replaced):
    expert = windowed(Placement(Device().take))
    model = expert.experts[0]
    expert.at(0)
    with torch.no_grad():
        if replaced:
            model.means = nn.Parameter(model.means + 1.0, requires_grad=False)
        else:
            model.means += 1.0
    changed, shown = model.means.clone(), expert.at(0).means
    assert not torch.equal(shown, windowed(None).at(0).means)
    expert.at(14), expert.at(8)
    assert home_of(model.means) is model.means and torch.equal(model.means, changed)
    assert torch.equal(expert.at(0).means, shown)


def test_a_seam_without_a_fade_uses_the_same_places():
    device = Device()
    expert = windowed(Placement(device.take))
    unfaded = [Unfaded(expert, later=later) for later in (False, True)]
    images = [each.parts_at(3)[0] for each in unfaded]
    for part, index in zip(images, (0, 1), strict=True):
        assert torch.equal(part.expert.at(part.frame).means, windowed(None).experts[index].at(part.frame).means)
    copies = device.copies
    expert.at(3), expert.at(2)
    assert device.copies == copies, "both windows are there"


def test_on_a_cpu_windows_stay_where_they_are():
    expert = windowed(None)
    assert on_device(expert, CPU) is expert and expert.placement is None
