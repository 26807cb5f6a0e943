"""The errors a user can cause; the command line shows each as one line without a traceback."""

from __future__ import annotations

import sys

from moegs_rasterizer import RasterizerError

from common.disk.contained import OutsideError
from common.disk.faults import ToldError
from common.ranks import RankError
from experts.base import CheckpointError, DivergedError
from scenes.types import SceneError


class ConfigError(ToldError, ValueError):
    """A flag, a configuration file or a run's folder that cannot be used; one line: what, found what, do what."""


def user_errors() -> tuple[type[Exception], ...]:
    """The errors' types; PyTorch's own is among them once it is imported, before which nothing raises it."""
    own = (ConfigError, SceneError, CheckpointError, RasterizerError, DivergedError, OutsideError, RankError, OSError)
    return (*own, sys.modules["torch"].OutOfMemoryError) if "torch" in sys.modules else own
