"""From videos or pictures to what the experts start from: cameras, COLMAP models, point clouds."""

from .n3v import prepare_n3v
from .options import PrepareOptions, VideosOptions
from .report import PreparedCloud, PrepareReport, StepReport
from .technicolor import prepare_technicolor
from .videos import prepare_videos

__all__ = [
    "PrepareOptions",
    "PrepareReport",
    "PreparedCloud",
    "StepReport",
    "VideosOptions",
    "prepare_n3v",
    "prepare_technicolor",
    "prepare_videos",
]
