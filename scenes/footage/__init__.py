"""Checks of a scene's footage that find faults before a training does."""

from scenes.footage.frames import CameraFrames, FrameChecks, check_frames, frames_table
from scenes.footage.headers import CameraHeader, HeaderChecks, check_headers, headers_table

__all__ = [
    "CameraFrames",
    "CameraHeader",
    "FrameChecks",
    "HeaderChecks",
    "check_frames",
    "check_headers",
    "frames_table",
    "headers_table",
]
