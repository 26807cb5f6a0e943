"""The verdict on experts: right ones pass, and each mistake is found with its value by rendering."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from moegs_rasterizer import Gaussians

from engine.checks.clip_length import find_clip_length, settle_clip_lengths
from engine.checks.judging import judge
from engine.checks.probes import image_and_splat, read_probe, shrunk, spread
from engine.runs.device import CPU, ComputeDevice
from experts.base import Provenance
from experts.novel_views import novel_view_culling
from router.novel_views import NovelViews
from scenes.types import Scene, View
from tests.small_world import CloudExpert, Images, camera

COMPUTE = ComputeDevice(device=CPU, backend="auto")
FRAMES, CAMERAS = 24, 6


class Clock(CloudExpert):
    """A cloud that moves from left to right while its clock goes from 0 to 1."""

    def __init__(self, name: str = "4DGaussians", *, num_frames: int = FRAMES, assumed: bool = False, seed: int = 1):
        super().__init__(name, seed)
        self.num_frames = num_frames
        self.settings = replace(self.settings, near=0.01)
        self.provenance = Provenance(files=(), iteration=1, clip_is_assumed=assumed)
        self.requires_grad_(False)

    def rows(self, frame: float) -> slice:
        return slice(0, self.num_gaussians)

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        still = super().at(0)
        time = frame / self.num_frames
        return replace(still, means=still.means + torch.tensor([1.5, 0.0, 0.0]) * (time - 0.5))


def scene_of(expert: CloudExpert, root) -> Scene:
    """Six cameras, cam00 held out, that film exactly what an expert shows."""
    rig = [replace(camera(3 * number, width=48, height=32), fx=40.0, fy=40.0) for number in range(CAMERAS)]
    views = tuple(View(name=f"cam{number:02d}", number=number, camera=rig[number]) for number in range(CAMERAS))
    empty = np.zeros((CAMERAS, FRAMES, 32, 48, 3), np.uint8)
    scene = Scene(
        name="clock",
        layout="n3v",
        root=root,
        views=views,
        train=tuple(range(1, CAMERAS)),
        test=(0,),
        start=0,
        num_frames=FRAMES,
        footage_frames=FRAMES,
        frames=Images(empty),
        rig_radius=1.0,
        notes=(),
    )
    for view in range(CAMERAS):
        for frame in range(FRAMES):
            probe = read_probe(scene, (view, frame), width=48, device=CPU)
            image, _ = image_and_splat(expert, probe, compute=COMPUTE)
            empty[view, frame] = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return scene


@pytest.fixture
def scene(tmp_path) -> Scene:
    return scene_of(Clock(), tmp_path)


def verdict_of(scene: Scene, *experts: CloudExpert):
    clips = settle_clip_lengths(scene, experts, COMPUTE)
    return judge(scene, experts, clips=clips, compute=COMPUTE)


def named(expert: CloudExpert, name: str) -> CloudExpert:
    expert.name = name
    return expert


def test_experts_of_the_scene_are_not_warned_of(scene):
    verdict = verdict_of(scene, Clock(), named(Clock(), "E-D3DGS"), named(Clock(), "STG"))
    assert verdict.warnings() == []
    assert verdict.order is None, "the order of cameras is looked at where the best expert is poor"
    assert all(each.psnr > 45 and each.coverage > 0.3 and each.plane.culled == 0 for each in verdict.experts)
    assert [each.clip.best if each.clip else None for each in verdict.experts] == [FRAMES, FRAMES, None]
    assert verdict.views == ("cam01 at frame 0", "cam03 at frame 12", "cam05 at frame 23")


def test_another_scenes_expert_is_named_beside_the_others_numbers(scene, tmp_path):
    (tmp_path / "cfg_args").write_text("Namespace(source_path='data/other')")
    foreign = named(Clock(seed=9), "STG")
    foreign.provenance = Provenance(files=(tmp_path / "point_cloud" / "point_cloud.ply",), iteration=1)
    verdict = verdict_of(scene, Clock(), foreign)
    right, wrong = (each.psnr for each in verdict.experts)
    assert wrong < 15
    cause = "likely another scene's model (cfg_args names data/other)"
    assert verdict.warnings() == [f"STG reaches {wrong:.1f} dB (4DGaussians {right:.1f}): {cause}"]


def test_cameras_or_frames_that_fit_no_expert_are_said_once(scene):
    verdict = verdict_of(scene, Clock(seed=9), named(Clock(seed=9), "STG"))
    (line,) = verdict.warnings()
    assert line.startswith("no expert fits the frames (4DGaussians ") and "a start frame of another scene" in line


@pytest.mark.parametrize("assumed", [True, False])
def test_the_clip_length_of_the_training_is_found(scene, caplog, assumed):
    long = scene_of(Clock(num_frames=60), scene.root)  # a model of 60 frames; the scene has 24
    expert = Clock(num_frames=FRAMES, assumed=assumed)
    caplog.set_level("INFO")
    verdict = verdict_of(long, expert)
    if assumed:
        assert 57 <= expert.num_frames <= 63
        assert "found by rendering" in caplog.text and f"--expert_frames 4DGaussians={expert.num_frames}" in caplog.text
        assert verdict.warnings() == []
    else:
        assert expert.num_frames == FRAMES, "a length that somebody said is kept, with a warning"
        assert "trained on 24 frames; 60 fit better by" in verdict.warnings()[0]


def test_a_clip_length_with_a_reason_is_taken_exactly(scene):
    long = scene_of(Clock(num_frames=50), scene.root)
    clip = find_clip_length(Clock(), long, reasons=(50,), compute=COMPUTE)
    assert clip is not None and clip.best == 50 and clip.is_clear


def test_a_scene_that_stands_still_does_not_tell_the_clip_length(tmp_path, caplog):
    class Still(Clock):
        def at(self, frame, *, camera=None):
            return super().at(self.num_frames / 2)

    expert = Still(assumed=True)
    still = scene_of(expert, tmp_path)
    clips = settle_clip_lengths(still, [expert], COMPUTE)
    assert not clips["4DGaussians"].is_clear and expert.num_frames == FRAMES
    assert "assumed, not known" in caplog.text and "--expert_frames 4DGaussians=N" in caplog.text


def test_a_near_plane_that_culls_is_named_with_one_that_fits(scene):
    expert = named(Clock(), "STG")
    expert.settings = replace(expert.settings, near=3.2)
    verdict = verdict_of(scene, Clock(), expert)
    (line,) = verdict.warnings()
    plane = verdict.experts[1].plane
    assert 0.4 < plane.culled < 0.8 and plane.near < 2.6 and plane.psnr > 45
    assert (
        f"its near plane, 3.2, culls {plane.culled:.1%} of the Gaussians in view; with --near {plane.near:.2g}" in line
    )


def test_a_far_plane_that_culls_is_named(scene):
    expert = named(Clock(), "STG")
    expert.settings = replace(expert.settings, far=3.0)
    (line,) = verdict_of(scene, Clock(), expert).warnings()
    assert "its far plane, 3, culls what it shows; without one it reaches" in line and "background" not in line


@pytest.mark.parametrize("assumed", [True, False])
def test_a_clip_that_begins_later_than_the_experts_is_named(scene, caplog, assumed):
    late = replace(scene, start=8, num_frames=FRAMES - 8, footage_frames=FRAMES - 8)
    pixels = scene.frames.pixels[:, 8:]
    late = replace(late, frames=Images(pixels))
    clocked, keyed = Clock(assumed=assumed), named(Clock(), "STG")
    verdict = verdict_of(late, clocked, keyed)
    assert clocked.num_frames == FRAMES, "another clip length would only hide the fault"
    assert verdict.experts[0].clip.later == 8 and "found by rendering" not in caplog.text
    lines = verdict.warnings()
    assert [line.split()[0] for line in lines] == ["4DGaussians", "STG"]
    assert all("its frames fit better 8 frames later" in line and "--start_timestamp 0" in line for line in lines)


def test_a_background_that_fits_better_is_named_for_an_expert_alone(scene):
    expert = named(Clock(), "STG")
    expert.background = (0.0, 0.0, 0.0)
    (line,) = verdict_of(scene, expert).warnings()
    assert "a white background fits better" in line


class Hidden(Clock):
    """A cloud with a large Gaussian close to the cameras."""

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        shown = super().at(frame)
        means = shown.means.clone()
        means[0] = torch.tensor([-0.5, 0.0, 0.05])
        scales = shown.scales.clone()
        scales[0] = 0.5
        return replace(shown, means=means, scales=scales)


def test_gaussians_that_hide_the_scene_are_named_with_a_near_plane(scene):
    verdict = verdict_of(scene, Clock(), named(Hidden(), "Ex4DGS"))
    assert verdict.experts[1].plane.near > 0.1 and verdict.experts[1].plane.gain > 1
    assert "Gaussians close to the cameras hide others" in verdict.warnings()[0]


class OnlyHeldOut(Images):
    """Frames of which only those of the held-out camera are decoded, as after `render --skip_train`."""

    def on_disk(self, views):
        return replace(super().on_disk(views), missing_bytes=0 if list(views) == [0] else 1)


def test_floaters_and_holes_at_held_out_cameras_are_no_faults(scene):
    # they are shown as they are scored: what floats is culled, holes have a colour of the training views
    unseen = replace(scene, frames=OnlyHeldOut(scene.frames.pixels))
    cameras = [scene.views[view].camera for view in scene.train]
    floating = named(Hidden(), "Ex4DGS")
    dark = named(Clock(), "STG")
    dark.background = (0.0, 0.0, 0.0)
    plain = [judge(unseen, [expert], clips={}, compute=COMPUTE) for expert in (floating, dark)]
    assert [verdict.views for verdict in plain] == [("cam00 at frame 0",)] * 2
    assert plain[0].experts[0].plane.gain > 1 and all(verdict.experts[0].psnr < 15 for verdict in plain)
    assert not any("--near" in line or "background" in line for each in plain for line in each.warnings())

    away = [replace(each, world_to_camera=torch.diag(torch.tensor([-1.0, 1, -1, 1]))) for each in cameras]
    culling = novel_view_culling(0.2, away, device=CPU)
    novel = NovelViews(culling=culling, hole_colour=(1.0, 1.0, 1.0), usual_coverage=1.0)
    ruled = [judge(unseen, [expert], clips={}, compute=COMPUTE, novel=novel) for expert in (floating, dark)]
    assert all(verdict.experts[0].psnr > 20 and verdict.warnings() == [] for verdict in ruled)


def test_a_near_plane_that_culls_is_named_at_held_out_cameras_too(scene):
    expert = named(Clock(), "STG")
    expert.settings = replace(expert.settings, near=3.2)
    verdict = verdict_of(replace(scene, frames=OnlyHeldOut(scene.frames.pixels)), Clock(), expert)
    assert "culls" in verdict.warnings()[0]


def test_poses_in_another_order_are_named_once_for_all_experts(scene):
    rotated = [view.camera for view in scene.views[1:]] + [scene.views[0].camera]
    views = tuple(replace(view, camera=other) for view, other in zip(scene.views, rotated, strict=True))
    verdict = verdict_of(replace(scene, views=views), Clock(), named(Clock(), "STG"))
    (line,) = verdict.warnings()
    assert verdict.order is not None and verdict.order.fits["cam01"] == "cam02"
    assert "in another order than the frames: the pose of cam01 shows the image of cam02" in line


def test_a_background_that_fits_better_is_named(scene):
    expert = named(Clock(), "STG")
    expert.background = (0.0, 0.0, 0.0)
    verdict = verdict_of(scene, Clock(), expert)
    assert "a white background fits better: mend white_background" in verdict.warnings()[0]


def test_numbers_are_spread_with_both_ends():
    assert spread(20, 3) == [0, 10, 19] and spread(2, 3) == [0, 1] and spread(1, 3) == [0]


def test_a_shrunk_camera_keeps_its_field_of_view():
    small = shrunk(camera(0, width=400, height=300), 100)
    assert (small.width, small.height, small.fx, small.cx) == (100, 75, 100.0, 50.0)
