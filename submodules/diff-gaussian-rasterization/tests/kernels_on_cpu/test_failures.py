"""Allocations, launches and other calls of CUDA that fail within an operator: an error of one line, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from moegs_rasterizer.compile.steps import SOURCES
from moegs_rasterizer.cuda import passes
from moegs_rasterizer.image_kernels import operators

from ..backends import KERNELS, one_thread
from ..random_layers import assert_same_bits, layer_of, run
from . import player

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

NO_MEMORY = r"CUDA out of memory: the rasterizer asks for \d+\.\d\d GB; end other processes .* or fewer Gaussians"
FAILED = r"CUDA failed while [\w' ]+: unspecified launch failure"
MOST_CALLS = 200


def failures_of(work: Callable[[], object]) -> list[Exception]:
    """The errors of work whose first call fails, whose second one does, and so on until it succeeds.

    After each error the same work succeeds.
    """
    errors: list[Exception] = []
    for calls in range(MOST_CALLS):
        with player.failing_after(calls):
            try:
                work()
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                errors.append(error)
            else:
                return errors
        work()
    raise AssertionError(f"still fails after {MOST_CALLS} calls")


def assert_lines(errors: list[Exception], *, allocations: int, others: int) -> None:
    """Each error is one of the two lines; at least so many are of each kind."""
    for error in errors:
        line = NO_MEMORY if isinstance(error, torch.OutOfMemoryError) else FAILED
        assert re.fullmatch(line, str(error)), error
    of_memory = sum(isinstance(error, torch.OutOfMemoryError) for error in errors)
    assert of_memory >= allocations and len(errors) - of_memory >= others


@pytest.mark.parametrize("deterministic", [False, True])
def test_each_call_that_fails_in_a_pass_is_an_error_of_one_line(deterministic):
    layer, camera = layer_of(5, 17, 16, sh_degree=1)
    wanted = run([layer], camera, backend=KERNELS, deterministic=True)
    errors = failures_of(lambda: run([layer], camera, backend=KERNELS, deterministic=deterministic))
    assert_lines(errors, allocations=20, others=18)
    steps = {re.split("while |:", str(error))[1] for error in errors}
    assert {"asking for the device", "projecting", "blending", "blending backwards", "projecting backwards"} <= steps
    assert_same_bits(run([layer], camera, backend=KERNELS, deterministic=True), wanted)
    player.check()


def test_a_background_that_cannot_be_looked_at_is_an_error_of_one_line():
    player.mailbox()
    box = passes.mailbox(torch.device("cpu"))
    given = torch.zeros(3), box.gradients.data_ptr(), 0, 0
    assert_lines(failures_of(lambda: passes.operators().look_at_background(*given)), allocations=0, others=2)


def test_each_call_that_fails_with_images_is_an_error_of_one_line():
    player.mailbox()
    one, other = torch.rand(2, 3, 16, 17)
    errors = failures_of(lambda: operators().photometric(one, other, 0.8, 0.2, True, 0))
    assert_lines(errors, allocations=3, others=2)
    loss, slopes = operators().photometric(one, other, 0.8, 0.2, True, 0)
    sent = (one, other, slopes, torch.ones_like(loss), 0.8, 0.2, 0)
    assert_lines(failures_of(lambda: operators().photometric_backward(*sent)), allocations=1, others=2)
    features, weights = [torch.rand(3, 16, 17)], [torch.rand(6, 8), torch.rand(3, 6), torch.rand(1, 3)]
    seen = (features, torch.rand(1, 3, 16, 17), torch.rand(6, 16, 17), weights, 0.1)
    assert_lines(failures_of(lambda: operators().blend_gates(*seen, 0)), allocations=3, others=2)
    image, gates, logits = operators().blend_gates(*seen, 0)
    back = (*seen, gates, [image, gates, logits], 0)
    assert_lines(failures_of(lambda: operators().blend_gates_backward(*back)), allocations=3, others=2)


def test_images_that_do_not_fit_are_an_error_of_one_line():
    player.mailbox()
    with pytest.raises(RuntimeError, match=r"^images of different sizes cannot be compared$"):
        operators().photometric(torch.rand(3, 8, 8), torch.rand(3, 8, 9), 0.8, 0.2, False, 0)


@pytest.mark.parametrize(("folder", "some"), [("cuda", {"forward", "photometric"}), (".", {"project", "blend"})])
def test_operators_are_registered_behind_a_guard_alone(folder, some):
    """Only guarded.h names what registers operators, and what is thrown is a Failure, whose text is one line."""
    defined: set[str] = set()
    guarded: set[str] = set()
    for path in sorted(each for each in (SOURCES / folder).iterdir() if each.is_file()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"STD_TORCH_CHECK|throw (?!Failure\()", text), path.name
        if path.name != "guarded.h":
            assert not re.search(r"TORCH_BOX|\bimpl\(", text), path.name
        defined.update(re.findall(r"\bdef\(\s*\"(\w+)\(", text))
        guarded.update(name for _, name in re.findall(r"implement<&(\w+)>\(library, \"(\w+)\"\)", text))
    assert some < defined == guarded
