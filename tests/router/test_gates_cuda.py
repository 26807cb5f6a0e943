"""Gates and blend as a kernel: the numbers of the readable head, here on tensors of the CPU and, with a GPU, on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from router import blend, new_head
from router.gates_cuda import gates_of_kernel, has_gates_kernel
from router.heads.head import SandwichHead
from tests.kernels_on_cpu import kernels_on_cpu
from tests.router.test_router import make_router, render
from tests.small_world import CloudExpert

KINDS = pytest.mark.parametrize("kind", ["sandwichlite", "sandwichpixel"])
SIZES = pytest.mark.parametrize(("experts", "height", "width"), [(4, 11, 37), (1, 3, 5), (8, 2, 70), (3, 1, 1)])


def compared(kind: str, experts: int, height: int, width: int, where: str, *, given: str = "all") -> None:
    """Images and gradients of the kernel beside those of the plain head in float64."""
    torch.manual_seed(0)
    fused = new_head(kind)
    plain = SandwichHead(sees_rays=fused.sees_rays).double()
    plain.load_state_dict(fused.state_dict())
    features = [torch.randn(3, height, width) for _ in range(experts)]
    images, rays = torch.rand(experts, 3, height, width), torch.randn(6, height, width)

    def results(head: SandwichHead, dtype: torch.dtype, device: str, mixed) -> list[Tensor]:
        maps = [each.to(device, dtype).requires_grad_() for each in features]
        blended = images.to(device, dtype).requires_grad_(given in ("all", "image"))
        mixture = mixed(head, maps, rays.to(device, dtype), blended)
        weights = torch.Generator().manual_seed(1)
        parts = {"image": mixture.image, "gates": mixture.gates, "logits": mixture.logits}
        chosen = parts if given == "all" else {given: parts[given]}
        loss = sum((part * torch.randn(part.shape, generator=weights).to(part)).sum() for part in chosen.values())
        learning = [*maps, *head.parameters(), *([blended] if blended.requires_grad else [])]
        gradients = torch.autograd.grad(loss, learning)
        return [
            *(part.detach().cpu().double() for part in parts.values()),
            *(each.cpu().double() for each in gradients),
        ]

    expected = results(plain, torch.float64, "cpu", lambda h, m, r, i: blend(i, h(m, r), temperature=0.3))
    found = results(
        fused.to(where), torch.float32, where, lambda h, m, r, i: gates_of_kernel(h, m, r, i, temperature=0.3)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * max(other.abs().max().item(), 0.1), rtol=0)


@KINDS
@SIZES
@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_the_kernel_has_the_numbers_of_the_plain_head(kind, experts, height, width):
    compared(kind, experts, height, width, "cpu")


@pytest.mark.parametrize("given", ["image", "gates", "logits"])
@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_gradients_of_some_images_alone(given):
    compared("sandwichlite", 3, 5, 40, "cpu", given=given)


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_a_value_that_is_no_number_is_not_hidden():
    head, images, rays = new_head("sandwichlite"), torch.rand(2, 3, 1, 2), torch.randn(6, 1, 2)
    features = torch.randn(2, 3, 1, 2)
    features[1, 2, 0, 1] = float("nan")
    mixture = gates_of_kernel(head, list(features), rays, images, temperature=1.0)
    assert mixture.image[:, 0, 0].isfinite().all() and mixture.image[:, 0, 1].isnan().all()


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_the_router_blends_by_the_kernel_and_has_the_same_images_and_gradients(monkeypatch):
    experts = [CloudExpert("A", 1), CloudExpert("B", 2)]
    router = make_router(experts)
    found = []
    for usable in (True, False):
        if not usable:
            monkeypatch.setattr("router.mixing.has_gates_kernel", lambda *_: False)
        router.zero_grad()
        mixture = render(router, experts, grad="features")
        (mixture.image.square().sum() + mixture.gates.square().sum()).backward()
        found.append(
            [mixture.image, mixture.gates, mixture.logits, mixture.alphas, *(p.grad for p in router.parameters())]
        )
        assert type(mixture.image.grad_fn).__name__ == ("_GatesBackward" if usable else "SumBackward1")
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5 * max(other.abs().max().item(), 1), rtol=0)


@pytest.mark.usefixtures(kernels_on_cpu.__name__)
def test_tensors_that_do_not_fit_are_refused():
    head, images, rays = new_head("sandwichlite"), torch.rand(2, 3, 4, 5), torch.randn(6, 4, 5)
    features = list(torch.randn(2, 3, 4, 5))
    assert has_gates_kernel(head, images) and not has_gates_kernel(new_head("sandwichlite").double(), images)
    for wrong in (
        (features, rays[:, :3], images),
        (features, rays, images[:1]),
        ([features[0], features[1][:2]], rays, images),
    ):
        with pytest.raises(RuntimeError, match="do not fit each other"):
            gates_of_kernel(head, *wrong, temperature=1.0)


def test_what_the_kernel_cannot_take():
    assert not has_gates_kernel(new_head("sandwichlite"), torch.rand(2, 3, 4, 4))  # on a CPU
    assert not has_gates_kernel(SandwichHead(), torch.rand(2, 3, 4, 4))


@KINDS
@SIZES
@pytest.mark.cuda
def test_a_gpu_has_the_numbers_of_the_plain_head(kind, experts, height, width):
    compared(kind, experts, height, width, "cuda")
