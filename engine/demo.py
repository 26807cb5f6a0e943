"""Four small experts for a procedural scene, fitted several at a time."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from engine.metrics import psnr
from experts import EXPERTS, Expert
from experts.fit.loop import TrainingViews, render
from experts.fit.points import TrackedPoints
from experts.fit.recipes import RECIPES, fit_expert
from scenes import Scene, SceneOptions, load_scene
from scenes.procedural import load_known_points
from scenes.procedural.writer import FAR, NEAR

logger = logging.getLogger(__name__)

SCORED_FRAMES = 6  # of the held-out camera, for the number shown after each fit


@dataclass(frozen=True, slots=True, kw_only=True)
class FitTask:
    """One expert to make, as a worker process gets it."""

    name: str
    scene: Path
    cache: Path
    output: Path
    iterations: int | None  # None: the recipe's
    line: int  # of the progress bar


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A finished expert."""

    name: str
    folder: Path
    num_gaussians: int
    seconds: float
    psnr: float  # on some frames of the held-out camera


def fit_experts(scene: Path, output: Path, *, cache: Path, iterations: int | None = None, workers: int = 2) -> None:
    """Fits the four experts to a procedural scene, several at a time, each into `output/<name>`.

    iterations: for every expert instead of its recipe's. Raises SceneError where the folder is no procedural scene.
    """
    load_known_points(scene)
    _open(scene, cache)  # decodes the videos once, for all workers
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    logger.info("fitting %s, %d at a time", ", ".join(RECIPES), workers)
    with ProcessPoolExecutor(workers, context, _start_worker, (threads, context.RLock())) as pool:
        tasks = [
            FitTask(name=name, scene=scene, cache=cache, output=output, iterations=iterations, line=line)
            for line, name in enumerate(RECIPES)
        ]
        for future in as_completed([pool.submit(fit_one, task) for task in tasks]):
            result = future.result()
            logger.info(
                "%-11s %5d Gaussians, %3.0f s, PSNR %.2f on the held-out camera: %s",
                result.name,
                result.num_gaussians,
                result.seconds,
                result.psnr,
                result.folder,
            )


def _start_worker(threads: int, lock: Any) -> None:
    torch.set_num_threads(threads)
    tqdm.set_lock(lock)


def fit_one(task: FitTask) -> FitResult:
    """Fits and saves one expert."""
    start = time.perf_counter()
    scene = _open(task.scene, task.cache)
    points, views = tracked_points(task.scene), training_views(scene)
    total = RECIPES[task.name].iterations if task.iterations is None else task.iterations
    with _bar(task, total) as advance:
        expert = fit_expert(task.name, points, views, near=NEAR, far=FAR, iterations=total, progress=advance)
    folder = task.output / task.name
    EXPERTS[task.name].save(expert, folder, total)
    return FitResult(
        name=task.name,
        folder=folder,
        num_gaussians=expert.num_gaussians,
        seconds=time.perf_counter() - start,
        psnr=held_out_psnr(expert, scene),
    )


@contextmanager
def _bar(task: FitTask, total: int) -> Iterator[Callable[[int, float], None]]:
    with tqdm(total=total, desc=task.name, position=task.line, leave=False, disable=not sys.stderr.isatty()) as bar:

        def advance(_iteration: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        yield advance


def _open(scene: Path, cache: Path) -> Scene:
    return load_scene(scene, SceneOptions(cache=cache, progress=False))


def tracked_points(scene: Path) -> TrackedPoints:
    """The known points of a procedural scene, as the fits take them."""
    known = load_known_points(scene)
    tracks = torch.from_numpy(known.tracks)
    moves = (tracks != tracks[:, :1]).flatten(1).any(dim=1)
    return TrackedPoints(
        tracks=tracks,
        colours=torch.from_numpy(known.colours),
        present=torch.from_numpy(known.present),
        bodies=torch.where(moves, torch.from_numpy(known.solids), -1),
    )


def training_views(scene: Scene) -> TrainingViews:
    """A scene's training cameras and their frames as tensors."""

    def image(position: int, frame: int) -> Tensor:
        return _image(scene, scene.train[position], frame)

    views = [scene.views[index] for index in scene.train]
    return TrainingViews(
        cameras=[view.camera for view in views],
        numbers=[view.number for view in views],
        num_frames=scene.num_frames,
        image=image,
    )


def held_out_psnr(expert: Expert, scene: Scene) -> float:
    """Mean PSNR of an expert on frames spread over the first held-out camera."""
    view = scene.test[0]
    frames = range(0, scene.num_frames, max(1, scene.num_frames // SCORED_FRAMES))
    with torch.no_grad():
        scores = [
            psnr(render(expert, scene.views[view].camera, frame).clamp(0, 1), _image(scene, view, frame))
            for frame in frames
        ]
    return sum(scores) / len(scores)


def _image(scene: Scene, view: int, frame: int) -> Tensor:
    return torch.tensor(scene.frames.read(view, frame)).permute(2, 0, 1).float() / 255
