"""Seams between windows: a cross-fade hides them, a switch does not, and the measure tells the two apart."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from common.maths.tensors import image_from_uint8
from demo.playroom import PointCounts, RigSize, write_scene
from engine.commands import train_expert
from engine.evaluation.measures.psnr import psnr
from engine.evaluation.seams import CHANGE, ScoredChange, seam_scores
from engine.runs.run import Run, mix_view
from engine.settings.rendering.metric_protocols import PROTOCOLS
from experts import LoadOptions, load_expert
from experts.windows.folders import Window
from experts.windows.model import Part, WindowedExpert
from router import Ensemble, Router
from scenes import SceneOptions, load_scene

FRAMES = 56
MOST_LOST = 0.3  # dB
EXACT = replace(PROTOCOLS["8bit"], eight_bit=False, clamped=False)


class Switched(WindowedExpert):
    """The same windows, of which one alone is shown at a frame."""

    def parts_at(self, frame: float) -> tuple[Part, ...]:
        return (replace(max(super().parts_at(frame), key=lambda part: part.share), share=1.0),)

    def seams(self) -> list[range]:
        """The frame at which the later window takes over."""
        return [range(middle, middle + 1) for seam in super().seams() for middle in [(seam.start + seam.stop) // 2]]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A generated scene, and an expert trained on it in two windows that share 16 frames."""
    root = tmp_path_factory.mktemp("windows")
    size = RigSize(width=64, height=48, num_frames=FRAMES, num_cameras=4)
    write_scene(root / "room", size=size, counts=PointCounts(still=500, moving=200), supersampling=1)
    given = [f"--source_path={root / 'room'}", f"--model_path={root / 'model'}", f"--cache_path={root / 'cache'}"]
    given += ["--windows=48", "--overlap=16", "--iterations=100", "--test_iterations", "--test_frames=1", "--quiet"]
    assert train_expert.command(["freetime", *given], prog="moegs.py train-expert", description="") == 0
    expert = load_expert("FreeTime", root / "model", LoadOptions(num_frames=FRAMES))
    assert isinstance(expert, WindowedExpert)
    return Run(
        ensemble=Ensemble(name="lone", layout="n3v", experts=("FreeTime",)),
        scene=load_scene(root / "room", SceneOptions(cache=root / "cache", progress=False)),
        experts=(expert.requires_grad_(False),),
        router=Router(["FreeTime"], [expert.num_gaussians]).requires_grad_(False),
    )


def scored(run: Run) -> list[ScoredChange]:
    """PSNR of the change since the frame before, of every frame but the first."""
    view = run.scene.test[0]
    images = [mix_view(run, view, frame).image for frame in range(FRAMES)]
    truths = [image_from_uint8(torch.tensor(run.scene.frames.read(view, frame))) for frame in range(FRAMES)]
    values = [psnr(images[frame] - images[frame - 1], truths[frame] - truths[frame - 1]) for frame in range(1, FRAMES)]
    return [
        ScoredChange(view=view, frame=frame, scores={"blend": {CHANGE: value}}) for frame, value in enumerate(values, 1)
    ]


def lost(run: Run) -> float:
    found = seam_scores(run, scored(run), blend="blend", protocol=EXACT)
    assert found is not None
    assert found["lost"] == pytest.approx(
        found["methods"]["blend"]["one_window"] - found["methods"]["blend"]["at_seams"], abs=1e-9
    )
    return float(found["lost"])


def test_a_cross_fade_hides_the_seam_of_trained_windows_and_a_switch_does_not(run):
    (expert,) = run.experts
    switched = replace(run, experts=(Switched(expert.windows, expert.experts),))
    assert abs(lost(run)) < MOST_LOST
    assert lost(switched) > 3 * MOST_LOST


def made(run: Run, windows: tuple[Window, ...], values: dict[int, float | None]) -> dict | None:
    """The scores of a run whose changes are given by frame, with another cut of its windows."""
    changed = replace(run, experts=(WindowedExpert(windows, run.experts[0].experts),))
    frames = [
        ScoredChange(view=run.scene.test[0], frame=frame, scores={"blend": {CHANGE: value}})
        for frame, value in values.items()
    ]
    return seam_scores(changed, frames, blend="blend", protocol=EXACT)


def test_frames_are_counted_by_where_they_lie(run):
    """A metric of 1 dB at the seam's frames and 2 elsewhere tells which is which."""
    windows = (Window(first=0, last=29), Window(first=28, last=55))  # the seam: 28, 29 and 30
    values = {0: None, **{frame: 1.0 if frame in (28, 29, 30) else 2.0 for frame in range(1, FRAMES)}}
    found = made(run, windows, values)
    assert found is not None
    assert found["frames"] == {"at_seams": 3, "elsewhere": 52}
    assert found["methods"]["blend"]["at_seams"] == 1.0
    assert found["methods"]["blend"]["elsewhere"] == 2.0


def test_windows_without_an_overlap_have_no_other_image_to_compare_with(run):
    windows = (Window(first=0, last=27), Window(first=28, last=55))
    found = made(run, windows, dict.fromkeys(range(1, FRAMES), 1.0))
    assert found is not None
    assert (found["frames"]["at_seams"], found["lost"]) == (1, None)


def test_there_is_nothing_to_tell_without_windows_or_changes(run):
    windows = run.experts[0].windows
    assert made(run, windows, dict.fromkeys(range(FRAMES))) is None
    whole = SimpleNamespace(experts=run.experts[0].experts[:1])
    values = [ScoredChange(view=0, frame=frame, scores={"blend": {CHANGE: 1.0}}) for frame in range(FRAMES)]
    assert seam_scores(whole, values, blend="blend", protocol=EXACT) is None
