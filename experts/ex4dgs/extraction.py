"""Static Gaussians that move most become dynamic ones (Ex4DGS)."""

from __future__ import annotations

import torch
from torch import Tensor

from experts.ex4dgs.density import within
from experts.ex4dgs.errors import BacktrackedErrors
from experts.ex4dgs.growth import first_keyframes
from experts.ex4dgs.motion import KeyframeTimeline
from experts.training.gaussians.density import Rows, add, remove
from experts.training.gaussians.population import Population

_STILL = 1e-6  # displacement of what does not move, times the extent
_COPIED = ("log_scales", "opacity_logits", "sh_dc", "sh_rest")


@torch.no_grad()
def moving_most(
    static: Population,
    errors: BacktrackedErrors,
    visible: Tensor,
    viewpoint: Tensor,
    *,
    extent: float,
    percentile: float,
) -> Tensor:
    """Mask [n] of the visible static Gaussians whose displacement over squared distance is above a percentile.

    visible [n]: those in the current image; viewpoint [3]: where distances are from, model units.
    """
    lengths = static["displacements"].detach().norm(dim=1)
    squared = (static["means"].detach() - viewpoint).square().sum(1)
    scores = lengths / (squared + (1e-3 * extent) ** 2)
    candidates = scores[visible]
    if len(candidates) == 0:
        return visible
    threshold = candidates.quantile(percentile)
    return visible & (scores > threshold) & (lengths > _STILL * extent) & (errors.rows["best_frame"] >= 0)


@torch.no_grad()
def extract(
    static: tuple[Population, BacktrackedErrors],
    dynamic: tuple[Population, BacktrackedErrors],
    chosen: Tensor,
    timeline: KeyframeTimeline,
    *,
    frames: int,
    along_path: bool,
) -> None:
    """Moves the chosen static Gaussians [n] to the dynamic ones; frames: how many are in training.

    The first ones decide how many keyframes there are.
    """
    if dynamic[0].count == 0 and dynamic[0]["means"].shape[1] == 0:
        count = first_keyframes(timeline, frames)
        for name, width in (("means", 3), ("quats", 4)):
            dynamic[0].put(name, dynamic[0][name].detach().new_zeros(0, count, width))
    rows = static[0].rows(chosen)
    best = static[1].rows["best_frame"][chosen]
    keyframes = dynamic[0]["means"].shape[1]
    path = path_at_keyframes if along_path else stretched_path
    new = {name: rows[name] for name in _COPIED}
    new["means"] = path(rows, keyframes, timeline, frames)
    new["quats"] = rows["quats"][:, None].repeat(1, keyframes, 1)
    new.update(first_windows(best, timeline, frames))
    add(*dynamic, new)
    remove(*static, chosen)


def path_at_keyframes(rows: Rows, keyframes: int, timeline: KeyframeTimeline, frames: int) -> Tensor:
    """Means [n, k, 3] of static rows at the frames of the keyframes."""
    numbers = torch.arange(keyframes, dtype=rows["means"].dtype, device=rows["means"].device)
    shares = (numbers * timeline.interval - timeline.shift) / timeline.duration
    return rows["means"][:, None] + rows["displacements"][:, None] * shares[:, None]


def stretched_path(rows: Rows, keyframes: int, timeline: KeyframeTimeline, frames: int) -> Tensor:
    """Means [n, k, 3] as Ex4DGS lays them: its path a little beyond the clip, spread over all keyframes.

    Shares of the path are those of bilinear interpolation from two values to K: (k + 1/2) 2 / K - 1/2, in 0 ... 1.
    """
    means, moved = rows["means"][:, None], rows["displacements"][:, None]
    numbers = torch.arange(keyframes, dtype=means.dtype, device=means.device)
    shares = ((numbers + 0.5) * 2 / keyframes - 0.5).clamp(0, 1)[:, None]
    margin = timeline.interval / frames
    return torch.lerp(means - moved * margin, means + moved * (1 + margin), shares)


def first_windows(best: Tensor, timeline: KeyframeTimeline, frames: int) -> Rows:
    """Opacity windows of Gaussians that fit best at frames [n]: centred on either side of them.

    Log widths are in frames, as Ex4DGS has them: windows are open at all times until a clone gets others.
    """
    centres = torch.stack([best / 2, (frames + best.clamp(min=0)) / 2], dim=1)
    widths = torch.stack([best + timeline.pad, frames - best + timeline.pad], dim=1)
    return {
        "opacity_centres": within((centres + timeline.shift) / timeline.interval, timeline, frames),
        "opacity_log_widths": widths,
    }
