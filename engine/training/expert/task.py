"""Stage 1: an expert in training, from the videos of a scene."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from common import ranks
from common.maths.tensors import tensors_hash
from common.text.wording import counted
from engine.errors import ConfigError
from engine.evaluation.expert import ExpertScores
from engine.evaluation.scoring import psnr_of, scores_text
from engine.runs.device import release_unused, wait
from engine.settings.training.train_expert import TrainExpertConfig
from engine.training.curve import TrainingCurve, rates_of
from engine.training.expert.facts import cfg_facts, facts_of
from engine.training.expert.saves import (
    ExpertOutput,
    covered,
    save_expert,
    save_state,
    saved_expert_folder,
    saved_experts,
    saved_state,
)
from engine.training.expert.scene_views import SceneViews
from engine.training.expert.scores import held_out_scores
from engine.training.expert.start import ExpertStart
from engine.training.loop import Schedule
from engine.training.progress import Reading
from engine.training.retention import drop_older
from engine.training.tensorboard import event_writer
from experts.training.trainer import ExpertTrainer

logger = logging.getLogger(__name__)

_READ_EVERY = 20  # iterations between readings of the loss: reading one waits for the GPU
QUARTERS = 4  # when held-out frames are scored on the way, by default
FRAMES_ON_THE_WAY = 8  # of each held-out camera


class ExpertTask:
    """An expert in training, with where it is saved and what is known of it. Use it as a context manager.

    Several ranks train and score it together; rank 0 saves and writes.
    """

    def __init__(
        self,
        trainer: ExpertTrainer,
        views: SceneViews,
        output: ExpertOutput,
        config: TrainExpertConfig,
        *,
        begun: ExpertStart,
    ) -> None:
        self.trainer = trainer
        self.views = views
        self.output = output
        self.config = config
        self.begun = begun
        self._facts = facts_of(output, config, begun.recipe, begun.planes)  # while all files are there
        self.known = self._facts  # as the training that it continues told them
        self.start = 0  # iterations done before
        self.seconds = 0.0  # of training, evaluations and saves left out
        self.history: list[dict[str, Any]] = []  # scores on the way
        self._saved: set[int] = set()  # iterations that this process saved
        self._clock = 0.0
        self._curve: TrainingCurve | None = None  # opened with the first number: by then it is known where to go on

    @property
    def name(self) -> str:
        """The expert's name."""
        return self.output.name

    @property
    def last(self) -> int:
        """The recipe's last iteration."""
        return self.begun.recipe.iterations

    @property
    def curve(self) -> TrainingCurve:
        """The training's curve, from where it was resumed on."""
        if self._curve is None:
            folder, wanted = self.output.folder, self.config.output.tensorboard
            events = event_writer(folder, start=self.start, wanted=wanted)
            self._curve = TrainingCurve(folder, start=self.start, events=events)
        return self._curve

    def schedule(self) -> Schedule:
        """The first, last, saving and evaluating iterations."""
        output, last = self.config.output, self.last
        tests = output.test_iterations
        if tests is None:
            tests = tuple(last * part // QUARTERS for part in range(1, QUARTERS))
        return Schedule(
            start=self.start,
            last=last,
            saves={*output.save_iterations, last},
            evaluations={iteration for iteration in tests if iteration < last},
        )

    def __enter__(self) -> ExpertTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.views.close()
        if ranks.is_first():
            self.curve.close()

    def losses(self, iteration: int) -> Iterator[Tensor]:
        """The loss of an iteration, moment by moment."""
        self._clock = time.perf_counter()
        return self.trainer.losses(iteration)

    def update(self, iteration: int) -> Sequence[Reading]:
        """Moves the parameters, adds and removes Gaussians; raises DivergedError where a loss read is not finite."""
        before = self.trainer.count
        self.trainer.update(iteration)
        if self.trainer.count != before:
            release_unused(self.output.compute.device)
        readings = []
        if iteration % _READ_EVERY == 0 or iteration == self.last:
            loss, psnr = self.trainer.read(iteration)
            readings.append(Reading(iteration=iteration, loss=loss, psnr=psnr, gaussians=self.trainer.count))
        self.seconds += time.perf_counter() - self._clock
        if ranks.is_first():
            rates = rates_of(self.trainer.optimiser)
            self.curve.add(readings, seconds=self.seconds, gaussians=self.trainer.count, rates=rates)
        return readings

    def is_finite(self) -> bool:
        """True where all of the model's parameters are finite."""
        return all(bool(parameter.isfinite().all()) for parameter in self.trainer.model.parameters())

    def is_saved(self, iteration: int) -> bool:
        """True where the newest state is of this iteration."""
        newest = saved_state(self.output.folder)
        return newest is not None and newest[0] == iteration

    def is_scored(self, iteration: int) -> bool:
        """True where the history has scores of this iteration: a state is saved before its iteration is scored."""
        return any(entry["iteration"] == iteration for entry in self.history)

    def complete(self, iteration: int) -> None:
        """Saves the expert of a state that was saved without it."""
        if not ranks.is_first():
            return
        if covered(self.trainer.model, (0,)) and not saved_expert_folder(self.output.folder, iteration).is_dir():
            self._save_expert(iteration)
        self._drop_older(iteration)

    def save(self, iteration: int) -> None:
        """Saves the state, then the expert: where that fails, its training can still be continued.

        RankError where the ranks' models are not the same.
        """
        output = self.output
        wait(output.compute)
        if not self.is_finite():
            raise ConfigError(
                f"{output.name} holds values that are not finite after iteration {iteration}, which is not saved: "
                "lower the learning rates, or look for images and start points that do not belong together"
            )
        if ranks.count() > 1:
            digest = tensors_hash(self.trainer.model.state_dict())
            ranks.require_equal(digest, f"models of {output.name} after iteration {iteration}")
        if ranks.is_first():
            save_state(output.folder, iteration, self.state())
            self._save_expert(iteration)
            self._drop_older(iteration)
        ranks.wait_for_all()

    def _save_expert(self, iteration: int) -> None:
        output, model = self.output, self.trainer.model
        if not covered(model, (0,)):
            logger.info("iteration %d: saved the training state, but no expert: it covers no frame yet", iteration)
            return
        folder = save_expert(model, output, iteration, facts=cfg_facts(output, self.config, self.begun))
        self._saved.add(iteration)
        logger.info("iteration %d: saved %s (%s)", iteration, folder, counted(self.trainer.count, "Gaussian"))

    def _drop_older(self, iteration: int) -> None:
        """Removes older saves that are not wanted any more: of this training, not of another in the same folder."""
        folder, keep = self.output.folder, self.config.output.keep_checkpoints
        own = {
            saved: path for saved, path in saved_experts(folder).items() if saved in self._saved or saved <= self.start
        }
        drop_older(folder, own, newest=iteration, keep=keep)

    def evaluate(self, iteration: int) -> None:
        """Scores a few held-out frames on the way."""
        self.score(iteration, FRAMES_ON_THE_WAY, networks=False)

    def score(self, iteration: int, wanted: int | None, *, networks: bool) -> ExpertScores | None:
        """Scores on the held-out cameras, logged and kept in the history; None where the model shows no frame yet."""
        result = held_out_scores(self.trainer.model, self.output, self.config, iteration, wanted, networks=networks)
        if result is None:
            return None
        self.history.append(
            {"iteration": iteration, "gaussians": self.trainer.count, "frames": result.frames, **result.scores}
        )
        if ranks.is_first():
            self.curve.add_score(iteration, psnr_of(result.scores))
        scored = counted(result.frames, "frame")
        logger.info("iteration %d: held-out cameras, %s: %s", iteration, scored, scores_text(result.scores))
        return result

    def state(self) -> dict[str, Any]:
        """The state from which `load` continues exactly."""
        correction = self.trainer.correction
        return {
            "facts": json.dumps(self.facts()),
            "course": self.trainer.state(),  # the key of files that exist
            "correction": None if correction is None else correction.state(),
            "torch_random": torch.get_rng_state(),
            "seconds": self.seconds,
            "history": json.dumps(self.history),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a state; raises KeyError, ValueError, TypeError or RuntimeError where it is damaged."""
        self.trainer.load(state["course"])
        if self.trainer.correction is not None:
            self.trainer.correction.load(state["correction"])
        self.known, self.history = json.loads(state["facts"]), json.loads(state["history"])
        self.start, self.seconds = int(state["iteration"]), float(state["seconds"])
        self.trainer.continue_from(self.start)
        torch.set_rng_state(state["torch_random"])

    def facts(self) -> dict[str, Any]:
        """Facts that must be the same in a training and the one it continues, as plain JSON values."""
        return self._facts
