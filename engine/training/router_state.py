"""What a run needs to go on as if it had never stopped, beside the router itself."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engine.runs.checkpoint import STATE, read_tensors
from experts.base import CheckpointError

SEED, RANDOM = "seed", "torch_random"


def training_state(optimiser: torch.optim.Optimizer, seed: int) -> dict[str, Tensor]:
    """The optimiser's moments and steps, the sampler's seed (its position is the iteration) and torch's generator.

    All on the CPU, like the generator: a GPU's is never used.
    """
    moments = {
        f"optimiser.{index}.{name}": value.cpu().contiguous()
        for index, entries in optimiser.state_dict()["state"].items()
        for name, value in entries.items()
    }
    return {**moments, SEED: torch.tensor(seed), RANDOM: torch.get_rng_state()}


def restore_training_state(optimiser: torch.optim.Optimizer, folder: Path, seed: int) -> None:
    """Gives a fresh optimiser the state saved in a checkpoint's folder, and torch its generator's.

    Raises CheckpointError where the file is missing, damaged, or from a run with another seed.
    """
    path = folder / STATE
    state = read_tensors(path)
    try:
        if int(state.pop(SEED)) != seed:
            raise CheckpointError(f"{path}: saved with another --seed than {seed}; resume with that run's seed")
        random = state.pop(RANDOM)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            _, index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = value
        fresh = optimiser.state_dict()
        _check_shapes(optimiser, moments)
        optimiser.load_state_dict({"state": moments, "param_groups": fresh["param_groups"]})
        torch.set_rng_state(random)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: damaged ({error!r}); start again with --overwrite") from error


def _check_shapes(optimiser: torch.optim.Optimizer, moments: dict[int, dict[str, Tensor]]) -> None:
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, entries in moments.items():
        for name, value in entries.items():
            if name != "step" and value.shape != parameters[index].shape:
                raise ValueError(f"{name} of parameter {index} is {list(value.shape)}")
