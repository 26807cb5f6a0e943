"""The experts that can be trained, one row each: published settings, and how a training of it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from common.suggestions import nearest
from engine.errors import ConfigError
from experts.ed3dgs.presets import ed3dgs_recipe
from experts.ed3dgs.training import ED3DGSTrainer, start_ed3dgs
from experts.ex4dgs.presets import ex4dgs_recipe
from experts.ex4dgs.start import new_ex4dgs
from experts.ex4dgs.training import Ex4DGSTrainer
from experts.fourdgaussians.presets import PRESETS as FOURD_PRESETS
from experts.fourdgaussians.presets import preset_for as fourdgaussians_preset
from experts.fourdgaussians.presets import start_model
from experts.fourdgaussians.training import FourDGaussiansTrainer
from experts.stg.presets import Dataset, stg_recipe
from experts.stg.training import STGTrainer, new_stg
from experts.training.points import StartPoints
from experts.training.recipe import Recipe
from experts.training.trainer import ExpertTrainer
from experts.training.views import Footage

SCENES: Mapping[Dataset, tuple[str, ...]] = {
    "n3v": ("coffee_martini", "cook_spinach", "cut_roasted_beef", "flame_salmon_1", "flame_steak", "sear_steak"),
    "technicolor": ("Birthday", "Fabien", "Painter", "Theater", "Train"),
}
UNPUBLISHED: Dataset = "n3v"  # whose presets, with measured planes, are for layouts that no data set was published in


@dataclass(frozen=True, slots=True, kw_only=True)
class Planes:
    """Culling planes."""

    near: float
    far: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Published settings, of a scene or of a data set."""

    recipe: Recipe
    planes: Planes | None = None  # in the model's units; None: fixed by the expert, or to be measured
    network: Any = None  # what else the expert's first model depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a training begins with beside its recipe."""

    points: StartPoints
    footage: Footage
    extent: float  # 1.1 x largest distance of a training camera from their mean, data units
    world_scale: float  # data units per unit of an Ex4DGS model
    planes: Planes | None  # data units; None: fixed by the expert
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainee:
    """An expert that can be trained."""

    key: str  # on the command line
    name: str  # in EXPERTS
    presets: Mapping[str, Preset]  # by scene or data set
    has_planes: bool  # near and far can be chosen
    moments: Literal["first", "all"]  # frames whose start points it uses
    begin: Callable[[Preset, Recipe, Start], ExpertTrainer]


def _per_scene(preset: Callable[[Dataset, str], Preset]) -> dict[str, Preset]:
    """A preset for every published scene, and one for each layout, for scenes that nobody published."""
    found = {scene: preset(layout, scene) for layout, scenes in SCENES.items() for scene in scenes}
    return found | {layout: preset(layout, "") for layout in SCENES}


def _ex4dgs(layout: Dataset, scene: str) -> Preset:
    recipe = ex4dgs_recipe(technicolor=layout == "technicolor", scene=scene)
    planes = Planes(near=recipe.near, far=recipe.far)
    return Preset(recipe=recipe, planes=_known(layout, scene, planes))


def _stg(layout: Dataset, scene: str) -> Preset:
    planes = Planes(near=4.0 if layout == "n3v" else 0.01, far=300.0)  # MoE-GS's, as its scenes' configs have them
    return Preset(recipe=stg_recipe(layout, scene), planes=_known(layout, scene, planes))


def _known(layout: Dataset, scene: str, planes: Planes) -> Planes | None:
    """N3V's planes fit its scenes alone; others have them measured."""
    return planes if scene or layout == "technicolor" else None


def _fourdgaussians(layout: Dataset, scene: str) -> Preset:
    found = fourdgaussians_preset(scene)
    return Preset(recipe=found.recipe, network=found)


def _ed3dgs(layout: Dataset, scene: str) -> Preset:
    return Preset(recipe=ed3dgs_recipe(technicolor=layout == "technicolor", scene=scene))


def _begin_ex4dgs(preset: Preset, recipe: Any, start: Start) -> ExpertTrainer:
    assert start.planes is not None
    near, far = start.planes.near / start.world_scale, start.planes.far / start.world_scale
    recipe = replace(recipe, near=near, far=far)
    model = new_ex4dgs(
        start.points,
        near=near,
        far=far,
        time_pad=recipe.time_pad,
        frames=recipe.growth.frames,
        world_scale=start.world_scale,
    )
    return Ex4DGSTrainer(model, recipe, extent=start.extent, footage=start.footage, seed=start.seed)


def _begin_fourdgaussians(preset: Preset, recipe: Any, start: Start) -> ExpertTrainer:
    model = start_model(
        start.points,
        preset.network,
        recipe,
        extent=start.extent,
        num_frames=start.footage.num_frames,
        seed=start.seed,
    )
    model.to(start.points.positions.device)
    return FourDGaussiansTrainer(model, recipe, extent=start.extent, footage=start.footage, seed=start.seed)


def _begin_ed3dgs(preset: Preset, recipe: Any, start: Start) -> ExpertTrainer:
    model = start_ed3dgs(
        start.points,
        recipe,
        num_frames=start.footage.num_frames,
        numbers=start.footage.numbers,
        extent=start.extent,
        seed=start.seed,
    )
    return ED3DGSTrainer(model, recipe, extent=start.extent, footage=start.footage, seed=start.seed)


def _begin_stg(preset: Preset, recipe: Any, start: Start) -> ExpertTrainer:
    assert start.planes is not None
    model = new_stg(
        start.points,
        recipe,
        first=0,
        num_frames=start.footage.num_frames,
        near=start.planes.near,
        far=start.planes.far,
        extent=start.extent,
        seed=start.seed,
    )
    return STGTrainer(model, recipe, extent=start.extent, footage=start.footage, seed=start.seed)


_FOURD_OTHERS = {name: Preset(recipe=row.recipe, network=row) for name, row in FOURD_PRESETS.items() if name != "N3V"}

TRAINEES: dict[str, Trainee] = {
    row.key: row
    for row in (
        Trainee(
            key="ex4dgs",
            name="Ex4DGS",
            presets=_per_scene(_ex4dgs),
            has_planes=True,
            moments="first",
            begin=_begin_ex4dgs,
        ),
        Trainee(
            key="ed3dgs",
            name="E-D3DGS",
            presets=_per_scene(_ed3dgs),
            has_planes=False,
            moments="first",
            begin=_begin_ed3dgs,
        ),
        Trainee(
            key="4dgaussians",
            name="4DGaussians",
            presets=_per_scene(_fourdgaussians) | _FOURD_OTHERS,
            has_planes=False,
            moments="first",
            begin=_begin_fourdgaussians,
        ),
        Trainee(
            key="stg",
            name="STG",
            presets=_per_scene(_stg),
            has_planes=True,
            moments="all",
            begin=_begin_stg,
        ),
    )
}


def trainee_named(key: str) -> Trainee:
    """The expert of a command-line key, also as papers write it ("E-D3DGS"); ConfigError naming the nearest."""
    found = TRAINEES.get(key.lower().replace("-", ""))
    if found is not None:
        return found
    known = ", ".join(TRAINEES)
    if not key:
        raise ConfigError(f"the expert to train is missing: give one of {known} first")
    close = nearest(key.lower(), TRAINEES, likeness=0.4)
    raise ConfigError(f"no expert is called {key!r}; {f'did you mean {close}?' if close else f'known: {known}'}")


def choose_preset(trainee: Trainee, asked: str, *, scene: str, layout: str) -> tuple[str, Preset]:
    """Name and settings of a preset; "auto" is the scene's own, else its layout's. ConfigError naming the nearest.

    A scene is known by its name or by what that begins with ("cook_spinach_half").
    """
    by_name = {name.lower(): name for name in trainee.presets}
    if asked == "auto":
        published = next((names for dataset, names in SCENES.items() if dataset == layout), ())
        name = next((known for known in published if scene.lower().startswith(known.lower())), layout)
        name = name if name in trainee.presets else UNPUBLISHED
        return name, trainee.presets[name]
    if asked.lower() not in by_name:
        close = nearest(asked.lower(), by_name)
        advice = f"did you mean {by_name[close]}?" if close else f"known: {', '.join(trainee.presets)}"
        raise ConfigError(f"--preset {asked}: {trainee.name} has no such preset; {advice}")
    name = by_name[asked.lower()]
    return name, trainee.presets[name]
