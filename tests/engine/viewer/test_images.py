from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.maths.tensors import to_uint8
from engine.evaluation.measures.psnr import psnr
from engine.runs.run import Run, mix_camera, mix_view
from engine.viewer.images import picture_of, prepare_frame, wiped, without_disabled
from engine.viewer.state import ViewState, kinds_of
from experts.kept_frames import ExpertFrames
from tests.small_world import HEIGHT, NAMES, WIDTH, small_run

STATE = ViewState(enabled=(True, True, True), temperature=1.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = small_run(tmp_path)
    with torch.no_grad():  # an untrained router weighs all alike
        for parameter in run.router.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    run.router.eval_temperature = 1.0
    return run


def shown(run: Run, view: int | None = 0, **state) -> np.ndarray:
    return picture_of(run, replace(STATE, **state), run.scene.views[view or 0].camera, view=view, width=WIDTH).image


@pytest.mark.parametrize("view", [0, 1])  # held out, and a training camera with parameters of its own
def test_a_recorded_camera_is_rendered_as_evaluation_does(run: Run, view: int) -> None:
    mixture = mix_view(run, view, 2)
    assert (shown(run, view, frame=2.0) == to_uint8(mixture.image)).all()
    assert (shown(run, view, frame=2.0, shown=f"expert {NAMES[1]}") == to_uint8(mixture.images[1])).all()
    assert (shown(run, view, frame=2.0, shown=f"gate {NAMES[1]}")[..., 0] == to_uint8(mixture.gates[1])).all()
    assert (shown(run, view, frame=2.0, shown="recorded") == run.scene.frames.read(view, 2)).all()


def test_every_kind_is_drawn_and_none_like_another(run: Run) -> None:
    images = [shown(run, shown=kind) for kind in kinds_of(NAMES)]
    assert {image.shape for image in images} == {(HEIGHT, WIDTH, 3)} and {image.dtype.name for image in images} == {
        "uint8"
    }
    assert len({image.tobytes() for image in images}) == len(images)


def test_psnr_is_that_of_what_is_shown(run: Run) -> None:
    mixture, camera = mix_view(run, 0, 1), run.scene.views[0].camera
    truth = torch.from_numpy(run.scene.frames.read(0, 1).copy()).permute(2, 0, 1) / 255
    for kind, image in (
        ("mixture", mixture.image),
        (f"expert {NAMES[2]}", mixture.images[2]),
        ("depth", mixture.image),
    ):
        picture = picture_of(run, replace(STATE, shown=kind, frame=1.0), camera, view=0, width=WIDTH)
        rounded = torch.from_numpy(to_uint8(image)).permute(2, 0, 1) / 255
        assert picture.psnr == pytest.approx(psnr(rounded, truth), abs=1e-4)


@pytest.mark.parametrize(("view", "frame", "width"), [(None, 1.0, WIDTH), (0, 1.5, WIDTH), (0, 1.0, WIDTH // 2)])
def test_no_psnr_without_a_recorded_frame_of_this_size(run: Run, view, frame, width) -> None:
    state = replace(STATE, frame=frame)
    picture = picture_of(run, state, run.scene.views[0].camera, view=view, width=width)
    assert picture.psnr is None and picture.image.shape[1] == width


def test_an_error_without_a_recorded_frame_says_so(run: Run) -> None:
    assert (shown(run, None, shown="error") != shown(run, None, shown="mixture")).any()


def test_disabled_experts_leave_their_share_to_the_others(run: Run) -> None:
    mixture = mix_view(run, 0, 1)
    left = without_disabled(mixture, (True, False, True), temperature=1.0)
    kept = mixture.gates[[0, 2]] / mixture.gates[[0, 2]].sum(0)
    torch.testing.assert_close(left.gates[[0, 2]], kept, atol=1e-5, rtol=1e-4)
    assert not left.gates[1].any()
    torch.testing.assert_close(left.image, (kept[:, None] * mixture.images[[0, 2]]).sum(0), atol=1e-5, rtol=1e-4)
    alone = shown(run, enabled=(False, True, False))
    assert (alone == shown(run, shown=f"expert {NAMES[1]}")).all()


def test_the_temperature_is_taken(run: Run) -> None:
    camera = run.scene.views[0].camera
    assert (shown(run, None, temperature=30.0) == to_uint8(mix_camera(run, camera, 0, temperature=30.0).image)).all()
    assert (shown(run, temperature=30.0) != shown(run)).any()


def test_a_wipe_shows_both() -> None:
    left, right = np.full((4, 10, 3), 10, np.uint8), np.full((4, 10, 3), 90, np.uint8)
    image = wiped(left, right, 0.5)
    assert image[0, :, 0].tolist() == [10] * 5 + [255] + [90] * 4
    assert (wiped(left, right, 1.0) == left).all() and (wiped(left, right, 0.0) == right).all()
    assert (left == 10).all()


def test_a_frame_that_comes_soon_is_computed_ahead(run: Run) -> None:
    prepare_frame(run, 2, view=1)
    assert all(not expert.cameras for expert in run.experts)  # nowhere to keep it
    kept = replace(run, frames=ExpertFrames(most=10**6, shares=len(run.experts)))
    prepare_frame(kept, 2, view=1)
    mix_view(kept, 1, 2)
    assert [expert.cameras for expert in kept.experts] == [[1]] * 3
