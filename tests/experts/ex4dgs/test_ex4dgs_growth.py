"""Growth of Ex4DGS's clip in training, its keyframes and opacity windows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from experts.ex4dgs.growth import (
    Span,
    adjust_windows,
    append_keyframes,
    continued,
    first_keyframes,
    full_span,
    lengthened,
    needed_keyframes,
    next_span,
)
from experts.ex4dgs.motion import KeyframeTimeline
from experts.ex4dgs.presets import EX4DGS_N3V, EX4DGS_TECHNICOLOR, ex4dgs_recipe
from experts.training.gaussians.population import Population
from experts.training.recipes.recipe import scaled_recipe


def simulated(recipe, num_frames):
    """Final keyframes and duration, and the iteration at which all frames were in training, without rendering."""
    timeline, span, keyframes, done = KeyframeTimeline(duration=10, pad=recipe.time_pad), Span(frames=10), 0, None
    full = full_span(timeline, num_frames)
    for iteration in range(1, recipe.iterations + 1):
        frames = next_span(span.frames, iteration, recipe.growth, full=full, stop=recipe.density.stop)
        if frames > span.frames:
            span.frames, timeline = frames, lengthened(timeline, frames)
            if 0 < keyframes < needed_keyframes(timeline):
                keyframes, span.wanted = needed_keyframes(timeline), True
        span.arm(iteration, recipe.growth)
        if span.armed:
            keyframes = keyframes or first_keyframes(timeline, span.frames)
            span.extracted(True)
        done = iteration if done is None and span.frames == full else done
    return keyframes, timeline, done


def test_the_published_schedules_end_where_the_published_models_are():
    keyframes, timeline, done = simulated(EX4DGS_N3V, 300)
    assert (keyframes, timeline.duration, done) == (36, 313, 12800)
    ends = {scene: simulated(recipe, 50) for scene, recipe in EX4DGS_TECHNICOLOR.items()}
    assert {(keyframes, timeline.duration) for keyframes, timeline, _ in ends.values()} == {(12, 64)}
    assert ends["Train"][2] == 2100 and ends["Fabien"][2] == 3200  # six steps


@pytest.mark.parametrize("num_frames", [5, 30, 150, 1500])
@pytest.mark.parametrize("iterations", [60, 3000, 40000])
def test_keyframes_cover_clips_of_any_length_after_trainings_of_any_length(num_frames, iterations):
    recipe = scaled_recipe(EX4DGS_N3V, iterations)
    keyframes, timeline, done = simulated(recipe, num_frames)
    first, last = timeline.frames(keyframes)
    assert first <= 0 and num_frames <= last
    assert done <= recipe.density.stop


def test_a_scene_without_settings_of_its_own_has_its_layouts():
    assert ex4dgs_recipe(technicolor=False, scene="Birthday") is EX4DGS_N3V
    assert ex4dgs_recipe(technicolor=True, scene="Painter").iterations == 30000
    assert ex4dgs_recipe(technicolor=True, scene="kitchen") is EX4DGS_TECHNICOLOR["Theater"]


def test_keyframes_continue_at_the_mean_of_the_last_four_steps():
    keyframes = torch.tensor([0.0, 9.0, 1.0, 2.0, 4.0, 9.0])[None, :, None].expand(1, 6, 3).clone()
    grown = continued(keyframes, 2)
    torch.testing.assert_close(grown[0, :, 0], torch.tensor([0.0, 9.0, 1.0, 2.0, 4.0, 9.0, 9.0, 9.0]))
    straight = continued(torch.arange(4.0)[None, :, None], 3)  # only two steps are taken of four keyframes
    torch.testing.assert_close(straight[0, :, 0], torch.arange(7.0))


def windows(centres, widths, keyframes=8):
    module, count = nn.Module(), len(centres)
    module.means = nn.Parameter(torch.zeros(count, keyframes, 3))
    module.quats = nn.Parameter(torch.zeros(count, keyframes, 4))
    module.opacity_centres = nn.Parameter(torch.tensor(centres))
    module.opacity_log_widths = nn.Parameter(torch.tensor(widths))
    return Population({name: (module, name) for name in ("means", "quats", "opacity_centres", "opacity_log_widths")})


def test_windows_that_end_with_the_clip_stay_open_behind_it():
    old, new = KeyframeTimeline(duration=31), KeyframeTimeline(duration=41)
    dynamic = windows([[2.0, 3.0], [2.0, 3.7], [1.5, 4.5]], [[5.0, 6.0], [5.0, 6.0], [5.0, 6.0]])
    assert append_keyframes(dynamic, old, new)
    assert dynamic["means"].shape == (3, 9, 3) and dynamic["quats"].shape == (3, 9, 4)  # 58 frames: 6 + 3
    assert dynamic["opacity_log_widths"][:, 1].tolist() == [6.0, 1.0, 1.0]  # behind 4.1 - 0.5 keyframes
    assert dynamic["opacity_log_widths"][:, 0].tolist() == [5.0, 5.0, 5.0]
    torch.testing.assert_close(dynamic["opacity_centres"][:, 1], torch.tensor([3.0, 3.7, 4.2]))  # (12 + 30) / 10
    assert not append_keyframes(dynamic, new, KeyframeTimeline(duration=42))


def test_windows_at_the_ends_of_the_clip_are_widened_and_held_within():
    dynamic = windows([[1.3, 2.0], [2.0, 3.1], [2.0, 2.5]], [[3.0, 3.0], [0.2, 0.2], [0.2, 4.0]])
    adjust_windows(dynamic, KeyframeTimeline(), frames=20)  # from 1.2 + 0.2 to 3.2 - 0.2 keyframes
    torch.testing.assert_close(dynamic["opacity_centres"][:2], torch.tensor([[1.4, 2.0], [2.0, 3.0]]))
    torch.testing.assert_close(dynamic["opacity_log_widths"], torch.tensor([[6.0, 3.0], [0.5, 2.0], [0.5, 4.0]]))
