"""JSON configuration files: those of the paper's repository, the ones in configs/, and the config.json of a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.disk.files import read_json, write_json
from common.text.suggestions import hint
from common.text.wording import counted
from engine.errors import ConfigError
from engine.settings.parsing.fields import convert, leaves, values_of
from engine.settings.parsing.retired import RETIRED

logger = logging.getLogger(__name__)

# Said anew with every command: how it is run, and whom it trusts (a stranger's file must not decide that).
FLAGS_ONLY = ("config", "resume", "overwrite", "debug", "trust_checkpoint")
RANGES: Mapping[str, tuple[float, float]] = {  # of numbers by key; NaN and infinity lie in none
    **dict.fromkeys(("temperature", "eval_temperature"), (1e-6, 1e6)),
    **dict.fromkeys(("featuret_lr", "feature_lr", "rgb_lr", "cue_lr"), (0.0, 1e3)),
    **dict.fromkeys(("near", "far", "novel_near"), (0.0, 1e9)),  # scene units
    **dict.fromkeys(("lambda_gates", "lambda_lpips"), (0.0, 1e6)),
    "lambda_dssim": (0.0, 1.0),
}
NAMED_KEYS = 3  # of those that are ignored


def read_config_file(path: Path, config_type: Any) -> dict[str, Any]:
    """Settings of a JSON file by flat name, converted to the types of the configuration.

    Keys of expert training are skipped with one line in the log. Raises ConfigError for anything else unknown, naming
    the nearest key, and for values of another kind.
    """
    return settings_of_object(read_object(path), config_type, path)


def settings_of_object(content: Mapping[str, Any], config_type: Any, path: Path) -> dict[str, Any]:
    """`read_config_file` for a JSON object that was read from a path."""
    known = leaves(config_type)
    settings, skipped = {}, []
    for key, value in content.items():
        if key in FLAGS_ONLY:
            raise ConfigError(f"{path}: {key} can only be given on the command line; remove it here")
        if key in known:
            settings[key] = convert(value, known[key], f"{path}: {key}")
            _check_range(settings[key], key, path)
        elif key in RETIRED:
            skipped.append(key)
        else:
            raise ConfigError(f"{path}: unknown key {key!r}; {hint(key, sorted(known))}")
    if skipped:
        more = ", …" if len(skipped) > NAMED_KEYS else ""
        named = ", ".join(skipped[:NAMED_KEYS])
        logger.info("%s: ignored %s of expert training (%s%s)", path, counted(len(skipped), "key"), named, more)
    return settings


def _check_range(value: Any, key: str, path: Path) -> None:
    """Raises ConfigError where a number of a file lies out of its key's range."""
    low, high = RANGES.get(key, (-math.inf, math.inf))
    if isinstance(value, float) and not low <= value <= high:
        raise ConfigError(f"{path}: {key} is {value:g}: a number from {low:g} to {high:g} expected")


def write_config_file(path: Path, config: Any) -> Path:
    """Writes every setting of a configuration, paths absolute, so that the file can be given as --config."""
    values = {
        key: value.absolute() if isinstance(value, Path) else value
        for key, value in values_of(config).items()
        if key not in FLAGS_ONLY
    }
    return write_json(path, values)


def check_config_file(path: Path, *, argument: str) -> None:
    """Raises ConfigError where there is no such file. argument: what gave it, for the message."""
    if path.is_dir():
        raise ConfigError(f"{argument}: is a folder; give a file")
    if not path.is_file():
        beside = sorted(str(other) for other in path.parent.glob("*.json")) if path.parent.is_dir() else []
        raise ConfigError(
            f"{argument}: no such configuration file; available: {', '.join(beside) or 'none in that folder'}"
        )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file; ConfigError where it is missing, is none, or names a key twice."""
    check_config_file(path, argument=str(path))
    try:
        content = read_json(path, pairs=lambda pairs: _unique(path, pairs))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: not a JSON file ({error}); mend it") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds a {type(content).__name__}; one JSON object of settings expected")
    return content


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"{path}: {', '.join(twice)} given twice; keep one")
    return dict(pairs)
