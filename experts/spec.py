"""The row of an expert: all that the project knows about one before a model of it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from moegs_rasterizer import Gaussians

from common.deferred import deferred
from experts.base import Expert, LoadOptions
from experts.training.recipes.presets import DataLayout, TrainingPreset
from experts.training.recipes.recipe_fields import check_fields

if TYPE_CHECKING:
    from torch import Tensor

    from experts.training.start import TrainingStart, scale_fault
    from experts.training.trainer import ExpertTrainer
else:
    scale_fault = deferred("experts.training.start:scale_fault")


def in_data_units(layout: DataLayout, rig_radius: float) -> float:
    """Data units per unit of a model that lives in the data's world: 1."""
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFolders:
    """Folders of an expert that has a model for each segment of a clip."""

    folder: Callable[[Path, int, int], Path]  # (model's folder, first frame, last one included) -> a segment's folder
    names: Callable[[Path], list[str]]  # of the segments' folders below a model's folder, sorted
    frames: Callable[[str], tuple[int, int]]  # (a segment's folder's name) -> its first and last frame
    models: Callable[[Any], list[Any]]  # (expert) -> one of each segment, to be trained; they share its parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """The training of an expert.

    gaussian_bytes: GPU memory of a Gaussian in training, of its tensors, gradients, moments and of what the pass back
    needs. pixel_bytes: the same of a pixel of the image. usual_gaussians: the most that trainings without a limit had.
    They are measured (docs/dev/expert_training.md), and tell a training's memory beforehand.

    slower_later, larger_later: time of a whole training's mean iteration, and size of its model, as factors of those
    with as many Gaussians soon after the start. Gaussians that begin to move cost more.
    """

    presets: Mapping[str, TrainingPreset]  # by scene, layout or data set
    start_frames: Literal["first", "all"]  # start points of the clip's first frame, or of every frame
    start_model: Callable[[Any, TrainingStart], Expert]  # (its recipe, start) -> the model that training starts from
    trainer: Callable[..., ExpertTrainer]  # (model, recipe, *, extent, views, seed)
    gaussian_bytes: int = 10_000
    pixel_bytes: int = 186
    usual_gaussians: int = 200_000
    slower_later: float = 1.0
    larger_later: float = 1.0


def _untrainable(*_: Any, **__: Any) -> Any:
    raise ValueError("this expert comes from files of other programs, and cannot be trained")


def _unwritten(*_: Any, **__: Any) -> Any:
    raise ValueError("this expert has pictures of another method, and no Gaussians to write")


def _not_routed(folder: Path, iteration: int | None) -> None:
    """No router's weights lie in its files."""


NOT_TRAINED = TrainingSpec(presets={}, start_frames="first", start_model=_untrainable, trainer=_untrainable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertSpec:
    """One row of EXPERTS. Its callables are best `deferred`: --help reads the table, and should not import PyTorch.

    signature: columns that only this expert's point_cloud.ply has: they tell whose a folder at the wrong flag is. One
    expert may add none to 3DGS's, and gives one of those.
    checkpoints: patterns of names of single files that also hold a model, alone or in a folder without point_cloud.
    pictures: it has pictures of the scene's cameras in the place of Gaussians (`PictureExpert`), and nothing of it is
    written: it gives `checkpoints`, and no signature.
    world_scale: data units per unit of its models, from the data's layout and the rig's radius.
    write_routed, read_routed: a model's folder with the router's weights [n, 3] (base, directional, temporal) as
    columns, as MoE-GS's own stage 2 writes it. `moegs.py export` calls the first, `moegs.py import` the second, which
    returns None where there are no such columns.
    random_model: from activated Gaussians of random numbers, in networks of the published N3V sizes, as costly as a
    trained one; for tests and `moegs.py profile-step`.
    """

    name: str
    key: str  # the argument of train-expert
    flag: str  # stage 2's flag of its folder, without dashes
    alias: str | None = None  # the flag's short form, with its dash
    load: Callable[[Path, LoadOptions], Expert]
    save: Callable[[Any, Path, int], None] = _unwritten  # (expert, folder, iteration)
    write_routed: Callable[[Any, Path, int, Tensor], None] = _unwritten  # (expert, folder, iteration, weights)
    read_routed: Callable[[Path, int | None], Tensor | None] = _not_routed  # (folder, iteration; None: the highest)
    signature: tuple[str, ...]
    checkpoints: tuple[str, ...] = ()
    pictures: bool = False
    has_planes: bool = False  # near and far can be chosen
    has_clock: bool = False  # its models have num_frames: the clip they were trained on, by which a frame is divided
    segments: SegmentFolders | None = None  # None: one model of the whole clip
    world_scale: Callable[[DataLayout, float], float] = in_data_units
    training: TrainingSpec = NOT_TRAINED  # an expert of files alone has none
    random_model: Callable[[Gaussians], Expert] = _unwritten


def is_written(spec: ExpertSpec) -> bool:
    """Tell whether models of an expert can be written and made up, as those of Gaussians can."""
    return _unwritten not in (spec.save, spec.write_routed, spec.random_model)


def name_fault(spec: ExpertSpec, owner: object, what: str) -> str | None:
    """A message that a model or trainer does not have the name of its expert's row; None where it has.

    what: the owner, in words.
    """
    name = getattr(owner, "name", None)
    if name == spec.name:
        return None
    named = "has no name" if name is None else f"is named {name!r}"
    return f"{what} {named}, its row of EXPERTS {spec.name!r}; give both the same `name`"


def begin_training(spec: ExpertSpec, recipe: Any, start: TrainingStart) -> ExpertTrainer:
    """A trainer of the expert before its first iteration; raises ValueError for a recipe or start it cannot use.

    Also where the model or the trainer does not have the row's name, or the training cameras stand in one place.
    """
    if fault := scale_fault(start.extent, start.points.positions):
        raise ValueError(fault)
    check_fields(recipe)
    model = spec.training.start_model(recipe, start)
    trainer = spec.training.trainer(model, recipe, extent=start.extent, views=start.views, seed=start.seed)
    for owner, what in ((model, "the model of start_model"), (trainer, "the trainer")):
        fault = name_fault(spec, owner, what)
        if fault is not None:
            raise ValueError(fault)
    return trainer
