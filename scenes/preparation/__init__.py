"""From videos or images to what the experts start from: cameras, COLMAP models, point clouds."""

from scenes.preparation.n3v import prepare_n3v
from scenes.preparation.options import PrepareOptions, VideosOptions
from scenes.preparation.report import PreparedCloud, PrepareReport, StepReport
from scenes.preparation.technicolor import prepare_technicolor
from scenes.preparation.videos import prepare_videos

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
