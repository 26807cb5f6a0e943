"""Events of a trace become times of stages, whichever thread they come from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from benchmarks.training_step.stages import (
    BACKWARD_RASTERIZE,
    REST,
    Launch,
    Mark,
    Spent,
    launches_of,
    marks_of,
    stage_times,
)
from common.marks import BACKWARD, DATA, LOSS, UPDATE


def mark(stage: str, start: int, end: int) -> Mark:
    return Mark(stage=stage, start=start, end=end)


def launch(time: int, duration: int) -> Launch:
    return Launch(time=time, duration=duration)


def spent(host: int, kernels: int = 0) -> Spent:
    return Spent(host=host, kernels=kernels)


def test_time_belongs_to_the_mark_that_began_last_and_the_gaps_to_the_rest():
    marks = [
        mark(DATA, 100, 110),
        mark(LOSS, 115, 140),
        mark(BACKWARD, 150, 190),
        mark(BACKWARD_RASTERIZE, 160, 175),
        mark(UPDATE, 190, 197),
        mark(DATA, 200, 230),
        mark(LOSS, 230, 231),
        mark(BACKWARD, 240, 250),
        mark(UPDATE, 260, 300),
    ]
    first, second = stage_times(marks, [], first=DATA)
    assert first == {
        DATA: spent(10),
        LOSS: spent(25),
        BACKWARD: spent(25),
        BACKWARD_RASTERIZE: spent(15),
        UPDATE: spent(7),
        REST: spent(5 + 10 + 3),
    }
    assert second == {DATA: spent(30), LOSS: spent(1), BACKWARD: spent(10), UPDATE: spent(40), REST: spent(9 + 10)}
    assert list(first) == [DATA, LOSS, BACKWARD, BACKWARD_RASTERIZE, UPDATE, REST]


def test_a_mark_set_several_times_an_iteration_is_added_up():
    marks = [mark(DATA, 0, 5), mark(BACKWARD, 5, 10), mark(BACKWARD, 20, 40), mark(UPDATE, 40, 41)]
    assert stage_times(marks, [], first=DATA) == [
        {DATA: spent(5), BACKWARD: spent(25), UPDATE: spent(1), REST: spent(10)}
    ]


def test_kernels_belong_to_the_stage_of_their_launch():
    marks = [
        mark(DATA, 0, 10),
        mark(BACKWARD, 20, 60),
        mark(BACKWARD_RASTERIZE, 30, 40),
        mark(DATA, 70, 80),
        mark(UPDATE, 80, 90),
    ]
    launches = [
        launch(-1, 10_000),  # before the first iteration
        launch(0, 1),
        launch(9, 2),
        launch(10, 4),  # in the gap after the data
        launch(20, 8),
        launch(30, 16),
        launch(39, 32),
        launch(40, 64),
        launch(69, 128),
        launch(70, 256),
        launch(89, 512),
        launch(90, 20_000),  # after the last
    ]
    assert stage_times(marks, launches, first=DATA) == [
        {
            DATA: spent(10, 1 + 2),
            BACKWARD: spent(30, 8 + 64),
            BACKWARD_RASTERIZE: spent(10, 16 + 32),
            REST: spent(20, 4 + 128),
        },
        {DATA: spent(10, 256), UPDATE: spent(10, 512), REST: spent(0)},
    ]


def test_without_marks_there_are_no_iterations():
    assert stage_times([], [launch(5, 1)], first=DATA) == []
    assert stage_times([mark(UPDATE, 0, 5)], [], first=DATA) == []


@given(st.lists(st.tuples(st.sampled_from([DATA, LOSS, UPDATE]), st.integers(0, 50), st.integers(0, 20))))
def test_the_stages_add_up_to_the_iterations(drawn):
    marks = [mark(DATA, 0, 3), *(mark(stage, start, start + length) for stage, start, length in drawn)]
    launches = [launch(time, 1) for time in range(80)]
    iterations = stage_times(marks, launches, first=DATA)
    last = max(each.end for each in marks)
    assert sum(one.host for each in iterations for one in each.values()) == last
    assert sum(one.kernels for each in iterations for one in each.values()) == last


def event(
    name: str, start: float, end: float, *, number: int = 0, thread: int = 1, gpu: bool = False, user: bool = False
) -> FunctionEvent:
    """As torch.profiler gives it, microseconds."""
    made = FunctionEvent(
        number,
        name,
        thread,
        start,
        end,
        device_type=DeviceType.CUDA if gpu else DeviceType.CPU,
        is_user_annotation=user,
    )
    assert (made.id, made.is_user_annotation) == (number, user)
    return made


TRACE = [
    event(DATA, 10, 14.5, number=1, user=True),
    event("aten::to", 11, 13, number=10),
    event("cudaMemcpyAsync", 12, 13, number=8),
    event(DATA, 12.5, 40, number=1, gpu=True, user=True),  # the mark once more, in the GPU's own time
    event("Memcpy HtoD", 20, 21.25, number=8, gpu=True),
    event(BACKWARD, 15, 30, number=2, user=True),
    event("autograd::engine::evaluate_function: BlendBackward", 17.5, 22.5, number=3, thread=2),
    event("BlendBackward", 18, 22, number=4, thread=2),
    event("cudaLaunchKernel", 19, 20, number=7, thread=2),
    event("backward_kernel", 50, 53, number=7, gpu=True),
    event("cuLaunchKernel", 22.25, 22.5, number=9, thread=2),
    event("gemm", 60, 60.5, number=9, gpu=True),
    event(UPDATE, 32, 33, number=5, user=True),
    event("Optimizer.step#RAdam.step", 32, 33, number=6, user=True),
    event("aten::add_", 32.25, 32.75, number=7),  # an operator with the number of a call
]


def test_marks_and_launches_of_a_trace():
    assert marks_of(TRACE, [DATA, BACKWARD, UPDATE]) == [
        mark(DATA, 10_000, 14_500),
        mark(BACKWARD, 15_000, 30_000),
        mark(BACKWARD_RASTERIZE, 18_000, 22_000),
        mark(UPDATE, 32_000, 33_000),
    ]
    assert launches_of(TRACE) == [launch(12_000, 1_250), launch(19_000, 3_000), launch(22_250, 500)]


def test_kernels_of_autograds_own_thread_belong_to_the_backward_pass():
    (times,) = stage_times(marks_of(TRACE, [DATA, BACKWARD, UPDATE]), launches_of(TRACE), first=DATA)
    assert times == {
        DATA: spent(4_500, 1_250),
        BACKWARD: spent(11_000, 500),
        BACKWARD_RASTERIZE: spent(4_000, 3_000),
        UPDATE: spent(1_000),
        REST: spent(2_500),
    }
