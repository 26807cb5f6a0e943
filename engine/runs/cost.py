"""Disk, memory and time that a command needs, told before it decodes frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from common.cores import usable_cores
from common.disk.files import free_bytes
from common.text.units import MEBIBYTE
from common.text.wording import bytes_text, counted, duration
from engine.runs.device import ComputeDevice, free_memory
from engine.runs.run import Run
from engine.runs.trial import WorkTime
from experts import Expert, ExpertSpec
from experts.training.recipes.recipe import Recipe
from experts.training.samples_ahead import AHEAD
from experts.windows.model import WindowedExpert
from experts.windows.placement import AT_ONCE
from router.rays import MOST as MOST_RAYS
from scenes import Scene
from scenes.frames.read_ahead import slots_of
from scenes.types import FramesOnDisk

logger = logging.getLogger(__name__)

# Tensors of a GPU beside models and rays, as measured (docs/dev/training_step.md): within a sixth of each measurement.
WORKSPACE_BYTES = 70 * MEBIBYTE  # of CUDA's libraries
TRAINING_PIXEL_BYTES, RENDERING_PIXEL_BYTES = 186, 120  # a pixel and expert
CUE_BYTES = 110  # a pixel and expert, with --cues: six maps three times in training, and what they are made of
GAUSSIAN_BYTES = 300  # of all experts
NETWORK_BYTES = 5000  # a Gaussian in an expert's networks, which take so many at a time:
NETWORK_ROWS = 2**18
RAY_BYTES = 24  # a pixel and camera
UPDATE_COPIES = 3  # of a parameter in training: its gradient, and Adam's two moments
PNG_SHARE = 0.6  # bytes of a photograph's PNG over those of its pixels, about
VIDEO_BYTES = 0.03  # a pixel of the videos: docs/n3v.md's 0.1 GB
EXPERT_BYTES = 400  # a Gaussian in an expert's files (docs/dev/expert_training.md: 308 to 381)
STATE_COPIES = 4  # of them in a state to resume from
WORTH_TELLING = 10.0  # seconds of decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Disk, memory and time of a command; estimates where a field says about."""

    frames: FramesOnDisk
    results_bytes: int | None  # of results to be written, about; None: not known beforehand
    results_free_bytes: int  # on the disk of the results
    host_bytes: int  # images read ahead and, on a CPU, tensors (about)
    device_bytes: int | None  # GPU tensors, about; None: a CPU
    device_free_bytes: int | None  # None: a CPU
    cores: int  # that decode
    gaussians: int | None = None  # that memory is told for, where their number grows
    time: WorkTime | None = None  # of the work after decoding; None: not tried

    @property
    def disk_bytes(self) -> int:
        """Bytes still to be written, frames and results."""
        return self.frames.missing_bytes + (self.results_bytes or 0)

    @property
    def free_bytes(self) -> int:
        """Free bytes on the disk of the frames."""
        return self.frames.free_bytes

    @property
    def decoding_seconds(self) -> float:
        """Time of decoding on all cores, about."""
        return self.frames.decoding_seconds / self.cores

    def lines(self) -> tuple[str, ...]:
        """Lines for people: frames, results, memory, time."""
        frames = frames_text(self.frames, cores=self.cores)
        free = f"{bytes_text(self.results_free_bytes)} free"
        about = "size not known beforehand" if self.results_bytes is None else f"about {bytes_text(self.results_bytes)}"
        lines = (frames, f"results: {about} ({free})", f"memory: {self._memory()}")
        return lines if self.time is None else (*lines, f"time: {self.time.line}")

    def _memory(self) -> str:
        host = f"about {bytes_text(self.host_bytes)} of host memory"
        at = "" if self.gaussians is None else f", at {counted(self.gaussians, 'Gaussian')}"
        if self.device_free_bytes is None or self.device_bytes is None:
            return host + at
        free = f"{bytes_text(self.device_free_bytes)} free"
        return f"{host}, about {bytes_text(self.device_bytes)} of GPU memory{at} ({free})"


def frames_line(scene: Scene) -> str:
    """A line on all frames of a scene: how much is decoded, how much is to be, and how long that takes."""
    return frames_text(scene.frames.on_disk(range(len(scene.views))), cores=usable_cores())


def frames_text(frames: FramesOnDisk, *, cores: int) -> str:
    """The line on some frames."""
    cached, missing = bytes_text(frames.cached_bytes), bytes_text(frames.missing_bytes)
    text = f"frames: {cached} in the cache, {missing} to decode"
    if frames.folder is not None:
        text += f" to {frames.folder} ({bytes_text(frames.free_bytes)} free)"
    if frames.missing_bytes:
        text += f", about {duration(frames.decoding_seconds / cores)} on {counted(cores, 'core')}"
    return text


def log_cost(cost: Cost) -> None:
    """Logs what a command needs, and warns of a disk or a GPU that is too small for it."""
    for line in cost.lines()[1:]:  # the cache tells of frames
        logger.info("%s", line)
    if cost.decoding_seconds >= WORTH_TELLING:
        logger.info("decoding takes about %s on %s", duration(cost.decoding_seconds), counted(cost.cores, "core"))
    needed, free = cost.device_bytes, cost.device_free_bytes
    if needed is not None and free is not None and needed > free:
        logger.warning(
            "GPU memory: about %s needed, %s free; end other work on the GPU, or use a lower --resolution",
            bytes_text(needed),
            bytes_text(free),
        )
    if (cost.results_bytes or 0) > cost.results_free_bytes:
        logger.warning(
            "disk of the results: about %s needed, %s free; free space, or choose another folder",
            bytes_text(cost.results_bytes or 0),
            bytes_text(cost.results_free_bytes),
        )


def router_cost(run: Run, *, results: Path, iterations: int, saves: int, copied: Sequence[Path] = ()) -> Cost:
    """The cost of training a run's router. saves: number of checkpoints. copied: files that go into the results."""
    router = tensor_bytes(run.router)
    written = router * (saves + UPDATE_COPIES - 1) + sum(path.stat().st_size for path in copied if path.is_file())
    tensors = run_bytes(run, run.scene.train, training=True)
    waiting = waiting_bytes(run.scene, images=iterations, gpu=run.device.type == "cuda")
    views = range(len(run.scene.views))
    return _cost(run.scene, views, run.compute, results=results, written=written, tensors=tensors, waiting=waiting)


def rendering_cost(run: Run, views: Sequence[int], *, results: Path, pngs: bool, scored: bool = True) -> Cost:
    """The cost of rendering views of a run.

    pngs: an image file per frame is written too. scored: with the views' frames, which have to be decoded.
    """
    pixels = run.scene.num_frames * sum(_pixels(run.scene, view) for view in views)
    experts = len(run.experts)
    written = VIDEO_BYTES * pixels * (1 + 2 * experts)  # mixture; image and gate of each expert
    if pngs:  # mixture, experts' images and truth; gates are grey
        written += PNG_SHARE * pixels * (3 * (1 + experts + scored) + experts)
    tensors, image = run_bytes(run, views, training=False), 3 * max(_pixels(run.scene, view) for view in views)
    needed = views if scored else ()
    return _cost(
        run.scene, needed, run.compute, results=results, written=round(written), tensors=tensors, waiting=image
    )


def expert_cost(
    scene: Scene,
    compute: ComputeDevice,
    spec: ExpertSpec,
    recipe: Recipe,
    *,
    results: Path,
    models: int,
    gaussians: int = 0,
) -> Cost:
    """The cost of training an expert's models, one for each segment, one after the other.

    gaussians: of each at its start, where known.
    """
    pixels = max(_pixels(scene, view) for view in scene.train)
    limit, batch = recipe.budget(pixels), recipe.batch
    growing = max(gaussians, spec.training.usual_gaussians) if limit is None else limit
    written = None if limit is None else models * limit * EXPERT_BYTES * (1 + STATE_COPIES)
    tensors = expert_bytes(spec, pixels=pixels, gaussians=growing)
    waiting = waiting_bytes(scene, images=AHEAD * batch, gpu=compute.device.type == "cuda")
    views = range(len(scene.views))
    cost = _cost(scene, views, compute, results=results, written=written, tensors=tensors, waiting=waiting)
    return replace(cost, gaussians=growing)


def expert_bytes(spec: ExpertSpec, *, pixels: int, gaussians: int) -> int:
    """Bytes of tensors in an expert's training, about; a batch's moments are differentiated one after the other."""
    training = spec.training
    return WORKSPACE_BYTES + training.pixel_bytes * pixels + training.gaussian_bytes * gaussians


def waiting_bytes(scene: Scene, *, gpu: bool, images: int) -> int:
    """Most memory that training images read ahead take: `images` of them, or what --cache_mb allows if that is less.

    It does not depend on the number of cameras and frames. For a GPU they wait with 8 bits a value, else with 32.
    """
    largest = max(_pixels(scene, view) for view in scene.train)
    return min(images, slots_of(scene, gpu=gpu)) * 3 * (1 if gpu else 4) * largest


def tensor_bytes(module: object) -> int:
    """Bytes of a module's parameters and buffers; 0 for what is no module."""
    if not isinstance(module, nn.Module):
        return 0
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def shown_bytes(expert: Expert) -> int:
    """Bytes of an expert's tensors where its images are made: on a GPU those of the largest windows, if it has some."""
    if not isinstance(expert, WindowedExpert) or expert.placement is None:
        return tensor_bytes(expert)
    return sum(sorted(map(tensor_bytes, expert.models))[-AT_ONCE:])


def run_bytes(run: Run, views: Sequence[int], *, training: bool) -> int:
    """Bytes of tensors that images of views need, about."""
    router, experts = tensor_bytes(run.router), sum(map(shown_bytes, run.experts))
    models = experts + router * (1 + UPDATE_COPIES if training else 1)
    rays = min(MOST_RAYS, RAY_BYTES * sum(_pixels(run.scene, view) for view in views))
    largest = max(_pixels(run.scene, view) for view in views)
    counts = [expert.num_gaussians for expert in run.experts]
    cues = 0 if run.router.cues is None else CUE_BYTES * len(counts) * largest
    return models + rays + cues + working_bytes(pixels=largest, gaussians=counts, training=training)


def working_bytes(*, pixels: int, gaussians: Sequence[int], training: bool) -> int:
    """Bytes of tensors beside models and rays while an image is rendered, about. gaussians: of each expert."""
    pixel_bytes = TRAINING_PIXEL_BYTES if training else RENDERING_PIXEL_BYTES
    images = pixel_bytes * len(gaussians) * pixels + GAUSSIAN_BYTES * sum(gaussians)
    networks = NETWORK_BYTES * min(max(gaussians), NETWORK_ROWS)  # done with before the images
    return WORKSPACE_BYTES + max(images, networks)


def _pixels(scene: Scene, view: int) -> int:
    camera = scene.views[view].camera
    return camera.width * camera.height


def _cost(
    scene: Scene,
    views: Sequence[int],
    compute: ComputeDevice,
    *,
    results: Path,
    written: int | None,
    tensors: int,
    waiting: int,
) -> Cost:
    on_gpu = compute.device.type == "cuda"
    return Cost(
        frames=scene.frames.on_disk(views),
        results_bytes=written,
        results_free_bytes=free_bytes(results),
        host_bytes=waiting + (0 if on_gpu else tensors),
        device_bytes=tensors if on_gpu else None,
        device_free_bytes=free_memory(compute.device),
        cores=usable_cores(),
    )
