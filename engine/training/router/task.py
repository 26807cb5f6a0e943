"""Stage 2: the router in training, with the experts frozen."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import torch
from moegs_rasterizer.types import Grad
from torch import Tensor

from common import ranks
from common.collectives import add_up_gradients
from common.marks import DATA, LOSS, mark
from common.maths.tensors import tensors_hash
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.mixture import EvaluationOptions, evaluate_mixture
from engine.evaluation.mixture_results import TITLES, table_order
from engine.evaluation.scoring import evenly_spread, psnr_of
from engine.outputs.files import results_folder
from engine.outputs.render_writer import MIXTURE
from engine.runs.device import wait
from engine.runs.run import Run, mix_camera
from engine.runs.saved.checkpoint import checkpoint_folder, save_checkpoint, saved_iterations
from engine.runs.saved.expert_records import ExpertRecord
from engine.runs.saved.router_tensors import named_tensors
from engine.settings.training.run import RunConfig
from engine.training.curve import TrainingCurve, rates_of
from engine.training.progress import Reading
from engine.training.retention import drop_older
from engine.training.router.judge import judged, with_judgement
from engine.training.router.loss import lpips_of, router_loss
from engine.training.router.readings import UnreadNumbers
from engine.training.router.resume import training_state
from engine.training.router.schedule import images_a_step, learned_cameras, reached, router_pairs, set_router_rates
from engine.training.stretches import stretches_of
from engine.training.tensorboard import event_writer
from experts.training.stretches import in_stretches
from router import Mixture
from scenes import Prefetcher

logger = logging.getLogger(__name__)

READ_EVERY = 10  # steps whose numbers are fetched together from a GPU: fetching waits until it has caught up
LINE_EVERY = 10  # iterations a line of training.csv


class RouterTask:
    """A run's router in training: an iteration is an image, a step an update. Use it as a context manager.

    Several ranks take other images of the same order, and add up their gradients. save_path and experts: where it is
    saved, and the experts' files to record; None where it only trains.
    """

    name = "router"
    grad: ClassVar[Grad] = "features"  # what learns at the experts' training cameras

    def __init__(
        self,
        run: Run,
        optimiser: torch.optim.Optimizer,
        config: RunConfig,
        *,
        start: int = 0,
        seconds: float = 0.0,
        save_path: Path | None = None,
        experts: tuple[ExpertRecord, ...] = (),
    ) -> None:
        self.run = run
        self.optimiser = optimiser
        self.config = config
        self.start = start  # iterations done before
        self.seconds = seconds  # of training so far, evaluations and saves left out
        self.save_path = save_path
        self.experts = experts
        self._lpips = lpips_of(run, config.training) if config.training.lambda_lpips else None
        self.images = images_a_step(config.training)
        self.last = reached(config.training.iterations, start=start, images=self.images)
        self._open = ExitStack()
        self._images: Iterator[tuple[int, int, Tensor]] = iter(())
        self._unread = UnreadNumbers(run.compute)
        self._readings: tuple[Reading, ...] = ()
        self._clock = 0.0
        self._judged: tuple[int, Run] | None = None  # an iteration, and the run that follows its judgement
        self._curve: TrainingCurve | None = None
        if save_path is not None and ranks.is_first():
            events = event_writer(save_path, start=start, wanted=config.output.tensorboard)
            self._curve = TrainingCurve(save_path, start=start, every=LINE_EVERY, last=self.last, events=events)

    def __enter__(self) -> RouterTask:
        training, scene = self.config.training, self.run.scene
        own = learned_cameras(scene)
        stretches = stretches_of(scene)
        pairs = partial(router_pairs, scene.train, own, scene.num_frames, seed=training.seed)
        order = in_stretches(pairs, stretches, lambda pair: pair[1], seed=training.seed, start=self.start)
        order = islice(order, ranks.rank(), max(0, self.last - self.start), ranks.count())
        if self._curve is not None:
            self._open.callback(self._curve.close)
        self._open.enter_context(torch.autograd.set_detect_anomaly(training.detect_anomaly))
        self._images = self._open.enter_context(Prefetcher(scene, order, device=self.run.device))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()

    def losses(self, iteration: int) -> Iterator[Tensor]:
        """The losses of this rank's images of the step that ends with an iteration: shares of the mean over all images.

        Raises ConfigError where a loss is not finite any more: on the CPU at once, on a GPU some steps later.
        """
        self._clock = time.perf_counter()
        training = self.config.training
        set_router_rates(self.optimiser, training, iteration)
        for left in reversed(range(training.batch)):
            with mark(DATA):
                view, frame, target = next(self._images)
            mixture = self._mixture(view, frame)
            with mark(LOSS):
                loss = router_loss(mixture, target, training, lpips=self._lpips)
            image = f"{self.run.scene.views[view].name}, frame {frame}"
            error = (mixture.image.detach() - target).square().mean()
            self._unread.add(iteration, image, loss=loss.detach(), error=error)
            steps = self._unread.count // training.batch
            if left == 0 and (self.run.device.type == "cpu" or steps >= READ_EVERY or iteration == self.last):
                self._readings = self._unread.read()
            del mixture  # its images would take memory all through the backward pass
            yield loss if self.images == 1 else loss / self.images

    def _mixture(self, view: int, frame: int) -> Mixture:
        camera = self.run.scene.views[view]
        known = view in self.run.scene.train  # by the experts: at the router's own cameras rules for novel views hold
        return mix_camera(
            self.run,
            camera.camera,
            frame,
            camera_number=camera.number if known else None,
            temperature=self.run.router.temperature,
            grad=self.grad if known else "features",
        )

    def update(self, iteration: int) -> Sequence[Reading]:
        """Moves the router's weights, on all ranks in the same way."""
        add_up_gradients(parameter for group in self.optimiser.param_groups for parameter in group["params"])
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        readings, self._readings = self._readings, ()
        self.seconds += time.perf_counter() - self._clock
        if self._curve is not None:
            gaussians = sum(expert.num_gaussians for expert in self.run.experts)
            rates = rates_of(self.optimiser)
            self._curve.add(readings, seconds=self.seconds, gaussians=gaussians, rates=rates)
        return readings

    def is_finite(self) -> bool:
        """True where all parameters are finite: on a GPU, a loss that is not is found some iterations later."""
        return all(bool(parameter.isfinite().all()) for parameter in self.run.router.parameters())

    def is_saved(self, iteration: int) -> bool:
        """True where a checkpoint of this iteration exists, or none is wanted."""
        return self.save_path is None or iteration in saved_iterations(self.save_path)

    def is_scored(self, iteration: int) -> bool:
        """True where the curve has a score of this iteration, or this process writes none."""
        return self._curve is None or self._curve.is_scored(iteration)

    def complete(self, iteration: int) -> None:
        """Removes the older saves that a kill left; a checkpoint itself is one folder, whole or not there."""
        self._drop_older(iteration)

    def save(self, iteration: int) -> None:
        """Writes a checkpoint to go on from; ConfigError where the router is not finite.

        RankError where the ranks' routers are not the same.
        """
        assert self.save_path is not None
        wait(self.run.compute)
        if not self.is_finite():
            raise ConfigError(
                f"the router holds values that are not finite after iteration {iteration}, which is not saved: lower "
                "the learning rates, or find the cause with --detect_anomaly"
            )
        if ranks.count() > 1:
            ranks.require_equal(tensors_hash(named_tensors(self.run.router)), f"routers after iteration {iteration}")
        run = replace(self._judged_run(iteration), training_seconds=self.seconds)
        if ranks.is_first():
            state = training_state(self.optimiser, self.config.training.seed)
            folder = save_checkpoint(self.save_path, run, iteration, experts=self.experts, state=state)
            logger.info("iteration %d: saved %s", iteration, folder)
            self._drop_older(iteration)
        ranks.wait_for_all()

    def _drop_older(self, iteration: int) -> None:
        if self.save_path is not None and ranks.is_first():
            path, keep = self.save_path, self.config.output.keep_checkpoints
            saves = {saved: checkpoint_folder(path, saved) for saved in saved_iterations(path)}
            drop_older(path, saves, newest=iteration, keep=keep)

    def _judged_run(self, iteration: int) -> Run:
        """The run as it is shown after an iteration; while it is trained, its gates are not shrunk."""
        if self._judged is None or self._judged[0] != iteration:
            self._judged = (iteration, with_judgement(self.run, judged(self.run)))
        return self._judged[1]

    def evaluate(self, iteration: int) -> None:
        """Renders and scores frames of the held-out cameras."""
        assert self.save_path is not None
        scene, output = self.run.scene, self.config.output
        frames = evenly_spread(scene.num_frames, output.test_frames)
        evaluation = evaluate_mixture(
            replace(self._judged_run(iteration), iteration=iteration, training_seconds=self.seconds),
            views=scene.test,
            folder=results_folder(self.save_path, "test", iteration),
            options=EvaluationOptions(
                frames=frames,
                networks=False,
                oracles=False,
                constant_frames=0,
                progress=not self.config.machine.quiet,
            ),
        )
        if self._curve is None:
            return
        means = evaluation.means
        self._curve.add_score(iteration, psnr_of(means[MIXTURE]))
        values = ", ".join(f"{TITLES.get(name, name)} {psnr_of(means[name]):.2f}" for name in table_order(means))
        cameras = " ".join(scene.views[view].name for view in scene.test)
        scored = counted(len(frames), "frame")
        logger.info("iteration %d: PSNR in dB (%s, %s): %s", iteration, cameras, scored, values)
