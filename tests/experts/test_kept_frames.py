"""Kept frames and dropped rows: the images of a frame computed anew, to the last bit, within the memory allowed."""

from __future__ import annotations

import copy
import gc
import logging
import weakref
from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import Layer, RasterSettings, rasterize

from benchmarks.trained_scenes import trained_like_scene
from benchmarks.workload import Workload, random_run
from engine.runs.device import CUDA, ComputeDevice, wait
from engine.runs.run import mix_camera
from experts import EXPERTS, SPLATTED, kept_frames
from experts.kept_frames import COMPUTED, LEAST_OPACITY, ExpertFrames, shown, tensors_of
from experts.novel_views import novel_view_culling
from experts.rows import keep_rows
from router import ENSEMBLES, mix, mixing
from router.novel_views import NovelViews
from tests.router.test_router import make_router, render
from tests.small_world import FRAMES, CloudExpert, camera, small_experts

ALL = 2**30


class FadingExpert(CloudExpert):
    """Each frame shows a part of its Gaussians; the others are just too faint, or have no opacity."""

    def at(self, frame, *, camera=None):
        gaussians = super().at(frame, camera=camera)
        rows = torch.arange(gaussians.count)
        faint = torch.where(rows % 2 == 0, 0.99 / 255, 0.0)
        return replace(gaussians, opacities=torch.where((rows + int(frame)) % 3 == 0, gaussians.opacities, faint))


def fading(**options) -> list[FadingExpert]:
    return [FadingExpert(name, seed, **options).requires_grad_(False) for seed, name in enumerate("AB")]


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("rule", ["exact", "inria"])
@pytest.mark.parametrize("drop", ["never", "kept", "always"])
def test_images_and_gradients_are_those_of_frames_computed_anew(drop, rule, backend):
    experts = fading(segments=2)
    router, frames = make_router(experts), ExpertFrames(most=ALL, drop=drop)
    for frame in (1, 3, 1):
        found = []
        for source in (COMPUTED, frames):
            router.zero_grad()
            options = {"frame": frame, "grad": "features", "backend": backend, "tile_rule": rule}
            mixture = render(router, experts, **options, frames=source)
            mixture.image.square().sum().backward()
            found.append([mixture.image, mixture.gates, mixture.alphas, *(p.grad for p in router.parameters())])
        # Sums over longer lists of the readable back-end are grouped otherwise; "inria" lists what no pixel takes.
        error = 1e-5 if (backend, rule) == ("torch", "inria") and drop != "never" else 0
        assert all((a - b).abs().max() <= error for a, b in zip(*found, strict=True))
    kept = frames.of(experts[0], 1)
    assert kept.gaussians.count == (50 if drop == "never" else 16)
    assert len(experts[0].cameras) == 5  # three frames anew, two of them for keeping


def test_dropped_rows_are_those_that_no_pixel_takes():
    """Also where the opacity is compensated, and for the last float below 1/255."""
    gaussians, seen = trained_like_scene(count=3000, width=64, height=48, seed=0)
    below = torch.nextafter(torch.tensor(1 / 255), torch.tensor(0.0))
    opacities = gaussians.opacities.clone()
    opacities[:2000:2], opacities[1:2000:2] = below, LEAST_OPACITY * (1 - 1e-6)
    gaussians = replace(gaussians, opacities=opacities)
    left = shown(gaussians)
    assert left.rows is not None and 1000 < left.gaussians.count < 2000
    assert (left.gaussians.opacities >= LEAST_OPACITY).all() and (left.gaussians.opacities == below).sum() == 1000
    for settings in (RasterSettings(), RasterSettings(low_pass=0.1, compensate=True, tile_rule="inria", depth="mean")):
        one, other = (
            rasterize([Layer(gaussians=each, settings=settings, background=torch.zeros(3))], seen)[0]
            for each in (gaussians, left.gaussians)
        )
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("colour", "alpha", "depth"))


def test_few_faint_rows_are_not_worth_a_copy():
    gaussians = CloudExpert("A", 0).at(0)
    few = replace(gaussians, opacities=torch.where(torch.arange(50) < 10, 0.0, gaussians.opacities))
    assert shown(few).gaussians is few and shown(few).rows is None


@pytest.mark.parametrize("name", ["means", "scales", "quats", "opacities", "colours"])
def test_values_that_are_not_finite_stay(name):
    gaussians = FadingExpert("A", 0).requires_grad_(False).at(0)
    tensors_of(gaussians)[name][7] = float("nan")  # a row that is dropped
    assert 7 in shown(gaussians).rows.tolist()


@pytest.mark.parametrize("name", SPLATTED)
def test_only_experts_that_look_at_the_camera_are_kept_for_each(name):
    torch.manual_seed(0)
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    expert = EXPERTS[name].random_model(gaussians).requires_grad_(False)
    frames = ExpertFrames(most=ALL)
    for number in (0, 3):
        expected, found = expert.at(5, camera=number), frames.of(expert, 5, camera=number)
        assert frames.of(expert, 5, camera=number) is found
        for key, tensor in tensors_of(found.gaussians).items():
            assert torch.equal(tensor, getattr(expected, key))
    same = frames.of(expert, 5, camera=0) is frames.of(expert, 5, camera=3)
    assert same == (name != "E-D3DGS")


def frame_bytes() -> int:
    """Bytes of a kept frame of a CloudExpert."""
    frames, expert = ExpertFrames(most=ALL), CloudExpert("A", 1).requires_grad_(False)
    frames.of(expert, 0)
    assert frames.bytes_kept() > 0
    return frames.bytes_kept()


MOMENTS = [FRAMES * moment / 64 for moment in range(60)]


class CrowdedExpert(CloudExpert):
    """Has no memory for a frame where more is kept than some bytes, as a GPU that others fill."""

    def at(self, frame, *, camera=None):
        if self.frames.bytes_kept() > self.most_kept:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().at(frame, camera=camera)


def crowded(frames: ExpertFrames, most_kept: int) -> CrowdedExpert:
    expert = CrowdedExpert("A", 1).requires_grad_(False)
    expert.frames, expert.most_kept = frames, most_kept
    return expert


def test_kept_frames_are_given_up_where_a_frame_has_no_memory(caplog):
    frames, size = ExpertFrames(most=ALL), frame_bytes()
    expert = crowded(frames, most_kept=2 * size)
    expected = {frame: CloudExpert("A", 1).at(frame) for frame in MOMENTS[:6]}
    for _ in range(2):
        for frame, wanted in expected.items():
            found = frames.of(expert, frame).gaussians
            assert all(torch.equal(value, getattr(wanted, name)) for name, value in tensors_of(found).items())
    assert (frames.bytes_kept(), frames.most) == (0, 0)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        "the GPU has no memory left: the frames of experts that were kept, 0.0 MB, are"
    )


class LonelyExpert(CloudExpert):
    """Has memory for one frame: none for another as long as anybody holds the first."""

    def at(self, frame, *, camera=None):
        if any(means() is not None for means in self.made):
            raise torch.OutOfMemoryError("CUDA out of memory")
        gaussians = super().at(frame, camera=camera)
        self.made.append(weakref.ref(gaussians.means))
        return gaussians


def test_nobody_holds_kept_frames_once_they_are_given_up():
    expert, frames = LonelyExpert("A", 1).requires_grad_(False), ExpertFrames(most=ALL, drop="never")
    expert.made = []
    for frame in (0, 1, 2):
        found = frames.of(expert, frame).gaussians.means.clone()
        assert torch.equal(found, CloudExpert("A", 1).at(frame).means)
    assert frames.most == 0


def test_kept_frames_are_given_up_where_an_image_has_no_memory(monkeypatch):
    experts = small_experts()
    router, frames = make_router(experts), ExpertFrames(most=ALL)

    def rasterized(*given, **options):
        if frames.bytes_kept():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rasterize(*given, **options)

    expected = render(router, experts, frame=1)
    monkeypatch.setattr(mixing, "rasterize", rasterized)
    assert torch.equal(render(router, experts, frame=1, frames=frames).image, expected.image)
    assert frames.most == 0


def test_no_memory_without_kept_frames_is_an_error():
    frames = ExpertFrames(most=ALL)
    with pytest.raises(torch.OutOfMemoryError):
        frames.of(crowded(frames, most_kept=-1), 0)
    assert frames.most == ALL, "nothing was given up that would have helped"


class WideExpert(CloudExpert):
    """A frame of it takes 16 MB."""

    def at(self, frame, *, camera=None):
        gaussians = super().at(frame, camera=camera)
        return replace(gaussians, opacities=torch.full((2**22,), float(frame), device=gaussians.means.device))


@pytest.mark.cuda
def test_a_full_gpu_gives_up_kept_frames(caplog):
    """Full is what this process may have: of a GPU that others fill, no test can tell how much there is."""
    expert, frames = WideExpert("A", 1).requires_grad_(False).cuda(), ExpertFrames(most=2**50, drop="never")
    gc.collect()  # what earlier tests left would be room for frames once it goes
    torch.cuda.empty_cache()
    room = torch.cuda.memory_reserved() + 200 * 2**20
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
    try:
        for moment in MOMENTS:
            assert (frames.of(expert, moment).gaussians.opacities == moment).all()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (frames.bytes_kept(), frames.most) == (0, 0)
    assert [line.startswith("the GPU has no memory left: ") for line in caplog.messages] == [True]


def test_processes_that_start_together_share_a_gpu(caplog):
    """Each plans with all the memory; none of 20 may take the last of it, and those that come first keep most."""
    caplog.set_level(logging.INFO)
    size, memory = frame_bytes(), 100 * frame_bytes()
    processes: list[ExpertFrames] = []

    def spare() -> int:
        return memory - sum(frames.bytes_kept() for frames in processes)

    processes += [ExpertFrames(most=memory // 2, spare=spare) for _ in range(20)]
    experts = [CloudExpert("A", seed).requires_grad_(False) for seed in range(20)]
    for frame in MOMENTS:
        for frames, expert in zip(processes, experts, strict=True):
            frames.of(expert, frame)
    assert memory // 4 - 2 * size <= spare() <= memory // 4
    assert len(caplog.messages) == 20
    alone = ExpertFrames(most=memory // 2, spare=lambda: memory - alone.bytes_kept())
    for frame in MOMENTS:
        alone.of(experts[0], frame)
    assert alone.bytes_kept() == 50 * size, "a process alone keeps what it planned"


def test_memory_is_bounded_and_what_came_first_stays():
    expert = CloudExpert("A", 1).requires_grad_(False)
    made = {name: tensor for name, tensor in tensors_of(expert.at(0)).items() if name != "colours"}  # the expert's own
    size = sum(tensor.nbytes for tensor in made.values())
    frames = ExpertFrames(most=2 * size)
    first = [frames.of(expert, frame) for frame in range(4)]
    again = [frames.of(expert, frame) for frame in range(4)]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False, False]
    assert frames.bytes_kept() == 2 * size


def test_experts_have_equal_shares_and_no_more_than_all_together():
    experts = [CloudExpert(name, 1).requires_grad_(False) for name in "ABC"]
    size = sum(tensor.nbytes for name, tensor in tensors_of(experts[0].at(0)).items() if name != "colours")
    frames = ExpertFrames(most=4 * size, shares=2)
    kept = []
    for expert in experts:
        first = [frames.of(expert, frame) for frame in range(4)]
        kept.append([frames.of(expert, frame) is found for frame, found in enumerate(first)])
    assert kept == [[True, True, False, False], [True, True, False, False], [False] * 4]
    assert frames.bytes_kept() == 4 * size


def test_shared_tensors_are_counted_once():
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    expert = EXPERTS["Ex4DGS"].random_model(gaussians).requires_grad_(False)
    frames = ExpertFrames(most=ALL)
    used = []
    for frame in range(3):
        frames.of(expert, frame)
        used.append(frames.bytes_kept())
    changed = 40 * 4 * (3 + 4 + 1)  # means, quats, opacities; scales and harmonics are the same at all frames
    assert used[2] - used[1] == used[1] - used[0] == changed < used[0]


def test_a_changed_expert_is_computed_anew():
    expert = CloudExpert("A", 1).requires_grad_(False)
    frames = ExpertFrames(most=ALL)
    before = frames.of(expert, 0).gaussians.means.clone()
    with torch.no_grad():
        expert.means.add_(0.1)
    moved = frames.of(expert, 0)
    assert torch.equal(moved.gaussians.means, expert.at(0).means) and not torch.equal(moved.gaussians.means, before)
    expert.double()
    assert frames.of(expert, 0).gaussians.means.dtype == torch.float64


def test_an_expert_with_other_tensors_is_computed_anew():
    """Rows were removed, states assigned, or a segment replaced: the old tensors themselves have not changed."""
    gaussians, _ = trained_like_scene(count=40, width=32, height=24, seed=1)
    for name, spec in SPLATTED.items():
        expert = spec.random_model(gaussians).requires_grad_(False)
        frames = ExpertFrames(most=ALL, drop="never")
        before = frames.of(expert, 5).gaussians
        keep_rows(expert, torch.arange(expert.num_gaussians) % 4 > 0)
        fewer = frames.of(expert, 5).gaussians
        assert fewer.count == expert.at(5).count < before.count, name
        state = {
            key: value + 0.25 if value.is_floating_point() else value for key, value in expert.state_dict().items()
        }
        expert.load_state_dict(state, assign=True)
        expert.requires_grad_(False)
        moved = frames.of(expert, 5).gaussians
        assert torch.equal(moved.means, expert.at(5).means) and not torch.equal(moved.means, fewer.means), name
        assert frames.of(expert, 5).gaussians is moved, name
    clocked = EXPERTS["4DGaussians"].random_model(gaussians).requires_grad_(False)
    frames.of(clocked, 5)
    clocked.num_frames //= 2
    assert torch.equal(frames.of(clocked, 5).gaussians.means, clocked.at(5).means)
    stg = EXPERTS["STG"].random_model(gaussians).requires_grad_(False)
    before = frames.of(stg, 5).gaussians
    stg.segments[0] = copy.deepcopy(stg.segments[0])
    assert frames.of(stg, 5).gaussians is not before


def test_nothing_is_kept_of_an_expert_that_learns():
    expert = CloudExpert("A", 1).requires_grad_(False)
    frames = ExpertFrames(most=ALL)
    frames.of(expert, 0)
    expert.requires_grad_(True)
    assert frames.of(expert, 0) is not frames.of(expert, 0) and frames.bytes_kept() == 0


def test_kept_frames_go_with_their_expert():
    expert, frames = CloudExpert("A", 1).requires_grad_(False), ExpertFrames(most=ALL)
    frames.of(expert, 0)
    frames.of(copy.deepcopy(expert), 0)
    gc.collect()
    assert len(frames._kept) == 1
    del expert
    gc.collect()
    assert frames.bytes_kept() == 0


def test_what_is_kept_in_inference_mode_serves_training():
    experts = small_experts()
    router, frames = make_router(experts), ExpertFrames(most=ALL)
    with torch.inference_mode():
        render(router, experts, frames=frames)
    render(router, experts, frames=frames, grad="features").image.sum().backward()
    assert all(parameter.grad is not None for parameter in router.parameters())


def test_culling_of_novel_views_follows_each_camera():
    experts = fading()
    router, frames = make_router(experts), ExpertFrames(most=ALL)
    novel = NovelViews(culling=novel_view_culling(3.0, [camera(2)], device=torch.device("cpu")))
    options = {"frame": 1, "time": 0.2, "temperature": 0.1, "backend": "torch", "novel": novel}
    for number in (0, 1, 0):
        one, other = (mix(router, experts, camera(number), **options, frames=each) for each in (COMPUTED, frames))
        assert torch.equal(one.image, other.image)
    plain = mix(router, experts, camera(0), **{**options, "novel": NovelViews()}, frames=frames)
    assert not torch.equal(plain.image, one.image)


@pytest.mark.cuda
@pytest.mark.parametrize("drop", ["kept", "always"])
def test_a_gpu_has_the_same_bits_with_kept_frames(drop):
    compute = ComputeDevice(device=CUDA, backend="cuda")
    run = random_run(Workload(gaussians=3000, width=200, height=150, seed=0), ENSEMBLES["E4"], compute)
    for segment in run.experts[2].parts:
        segment.trbf_log_widths.fill_(-3.0)  # most rows are hidden at most frames
    frames = ExpertFrames(most=ALL, drop=drop)
    for frame in (7, 150, 7):
        found = []
        for source in (COMPUTED, frames):
            run.router.zero_grad()
            mixture = mix_camera(
                replace(run, frames=source), run.scene.views[0].camera, frame, camera_number=1, grad="features"
            )
            mixture.image.square().sum().backward()
            found.append([mixture.image, mixture.gates, mixture.alphas, *(p.grad for p in run.router.parameters())])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert frames.of(run.experts[2], 7, camera=1).gaussians.count < 2000
    wait(compute)


def test_rows_are_not_looked_for_where_nothing_more_is_kept(monkeypatch):
    expert = fading()[0]
    looked = []
    monkeypatch.setattr(kept_frames, "shown", lambda gaussians: looked.append(1) or shown(gaussians))
    size = sum(tensor.nbytes for tensor in tensors_of(shown(expert.at(0)).gaussians).values())
    frames = ExpertFrames(most=3 * size)
    for _ in range(2):
        for frame in range(FRAMES):
            frames.of(expert, frame)
    kept = sum(frames.of(expert, frame) is frames.of(expert, frame) for frame in range(FRAMES))
    assert 0 < kept < FRAMES and len(looked) == kept + 1
