"""The errors a user can cause; the command line shows each as one line without a traceback."""

from __future__ import annotations

import torch
from moegs_rasterizer import RasterizerError

from experts.base import CheckpointError
from experts.training.trainer import DivergedError
from scenes.types import SceneError


class ConfigError(ValueError):
    """A flag, a configuration file or a run's folder that cannot be used; one line: what, found what, do what."""


USER_ERRORS = (
    *(ConfigError, SceneError, CheckpointError, RasterizerError, DivergedError),
    *(OSError, torch.OutOfMemoryError),
)
