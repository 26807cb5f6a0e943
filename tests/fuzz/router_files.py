"""Files of a router's checkpoint, and the weights of LPIPS."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.commands import train
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_weights import load_lpips
from engine.runs.saved.checkpoint import STATE, checkpoint_folder, load_checkpoint
from engine.settings.training.run import RunConfig
from engine.training.router.resume import restore_training_state
from engine.training.router.schedule import make_optimiser
from tests.engine.evaluation.test_lpips import random_weights
from tests.fuzz.samples import Maker, Sample
from tests.small_world import use_small_world


def checkpoint(name: str) -> Maker:
    """A file of a router's checkpoint of the small world."""

    def make(folder: Path) -> Sample:
        with pytest.MonkeyPatch.context() as patch:
            given = [*use_small_world(patch, folder), f"--save_path={folder / 'out'}", "--iterations=2"]
            if train.main("E3", [*given, "--test_iterations"]) != 0:
                raise ConfigError("the small world cannot be trained")
        saved = checkpoint_folder(folder / "out")

        def read() -> object:
            router = load_checkpoint(saved)
            optimiser = make_optimiser(router.router, RunConfig().training)
            if name == STATE:
                restore_training_state(optimiser, saved, 0)
            return router, optimiser.state_dict(), torch.get_rng_state() if name == STATE else None

        return Sample(file=saved / name, read=read)

    return make


def lpips(folder: Path) -> Sample:
    file = folder / "alex.npz"
    np.savez(file, **{name: tensor.numpy() for name, tensor in random_weights("alex").items()})
    return Sample(file=file, read=lambda: load_lpips("alex", file))
