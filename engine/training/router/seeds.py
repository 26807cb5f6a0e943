"""Several trainings of one router, with a seed and a folder each: --seeds."""

from __future__ import annotations

import logging
from pathlib import Path

from common.text.wording import counted
from engine.errors import ConfigError
from engine.runs.saved.checkpoint import saved_iterations, saved_records
from engine.runs.saved.expert_records import ExpertRecord, changed_file
from engine.runs.saved.seeds import seed_folder, seed_of, trained_seeds
from engine.settings.parsing.config_file import read_object
from engine.settings.parsing.fields import with_values
from engine.settings.training.run import RunConfig, expert_folders
from engine.settings.training.train import CONFIG_FILE
from engine.training.router.old_run import set_run_aside
from engine.training.router.resume import check_router_folder
from experts import CheckpointError
from router import Ensemble

logger = logging.getLogger(__name__)


def seed_configs(config: RunConfig, save_path: Path) -> list[RunConfig]:
    """The settings of each seed's run: seeds from --seed on, in folders below the one of --save_path.

    ConfigError where that folder is an ordinary run's, or where one of a seed may not be trained in.
    """
    assert config.training.seeds is not None
    if saved_iterations(save_path):
        raise ConfigError(f"{save_path}: holds the router of one run; choose another --save_path for --seeds")
    first = config.training.seed
    _check_first_seed(config, save_path)
    configs = []
    for seed in range(first, first + config.training.seeds):
        folder = seed_folder(save_path, seed)
        configs.append(with_values(config, {"seeds": None, "seed": seed, "save_path": folder}))
        check_router_folder(configs[-1], folder)
    return configs


def _check_first_seed(config: RunConfig, save_path: Path) -> None:
    """Raises ConfigError where a folder's seeds begin with another: renderings and tables would mix both sets."""
    trained = trained_seeds(save_path)
    if not trained or config.output.overwrite:
        return
    file = save_path / CONFIG_FILE
    given = read_object(file).get("seed") if file.is_file() else None
    before = given if isinstance(given, int) else seed_of(trained[0])
    if before != config.training.seed:
        raise ConfigError(
            f"{save_path}: its seeds begin with {before}, and --seed is {config.training.seed}: renderings would mix "
            f"both; give --seed {before} and a larger --seeds for more, --overwrite to start again, or another "
            "--save_path"
        )


def iterations_left(config: RunConfig) -> int:
    """The iterations that a seed's run still has to train."""
    save_path = config.output.save_path
    assert save_path is not None
    saved = saved_iterations(save_path) if config.output.resume else ()
    return config.training.iterations - (saved[-1] if saved else 0)


def is_finished(config: RunConfig, ensemble: Ensemble) -> bool:
    """True where --resume has nothing left to do for a seed, and says so.

    A router of other experts is not finished: opening its training tells.
    """
    save_path = config.output.save_path
    assert save_path is not None
    if iterations_left(config) > 0 or not _is_of_the_experts(config, ensemble, save_path):
        return False
    saved = saved_iterations(save_path)
    logger.info("%s: trained for %s before, left as it is", save_path, counted(saved[-1], "iteration"))
    return True


def _is_of_the_experts(config: RunConfig, ensemble: Ensemble, save_path: Path) -> bool:
    """True where the folders of the experts hold the files that the newest save of a router was trained with."""
    folders = {name: path if path.is_dir() else path.parent for name, path in expert_folders(config, ensemble).items()}
    try:
        records = saved_records(save_path)
    except CheckpointError:  # opening the training tells
        return False
    return all(record.name in folders and changed_file(record, folders[record.name]) is None for record in records)


def set_seeds_aside(save_path: Path, experts: tuple[ExpertRecord, ...], *, but: Path) -> None:
    """Moves the earlier runs of all seeds but one to their `old-N`: a later --resume must not take them for new."""
    for folder in trained_seeds(save_path):
        if folder != but:
            set_run_aside(folder, experts)
