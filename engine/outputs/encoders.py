"""Encoders of H.264 videos: x264 on the CPU, and NVENC on a GPU that has it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from common import ranks
from common.text.wording import counted
from engine.errors import ConfigError
from engine.settings.rendering.render import EncoderChoice

logger = logging.getLogger(__name__)

PROBE_SIZE = (256, 256)  # px: NVENC takes none below about 145 x 49


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder of FFmpeg, and its options."""

    codec: str
    options: Mapping[str, str]


# x264's constant rate factor 18 is visually lossless. At a fixed one the preset trades file size for time and memory,
# not quality. NVENC has no such factor: its quantiser is constant.
SOFTWARE = Encoder(codec="libx264", options={"crf": "18", "preset": "veryfast"})
NVENC = Encoder(codec="h264_nvenc", options={"rc": "constqp", "qp": "18", "preset": "p4"})


def check_encoder(choice: EncoderChoice) -> None:
    """Raises ConfigError where NVENC is asked for and cannot be used."""
    if choice != "nvenc":
        return
    sessions, fault = sessions_of(NVENC, 1)
    if not sessions:
        raise ConfigError(
            f"--encoder nvenc: {NVENC.codec} cannot be used here ({fault}); give --encoder software, or auto, which "
            "takes NVENC where there is one"
        )


def choose_encoders(choice: EncoderChoice, videos: int) -> list[Encoder]:
    """Choose the encoder of each of some videos that are written at the same time.

    auto, nvenc: NVENC for as many as the GPU takes, x264 for the others; a line in the log names them.
    """
    if choice == "software" or not videos:
        return [SOFTWARE] * videos
    sessions, fault = sessions_of(NVENC, videos)
    sessions = min(ranks.gathered(sessions))  # the parts of a video that ranks encode are of one encoder
    rest = f"{counted(videos - sessions, 'video')} by {SOFTWARE.codec} ({NVENC.codec}: {fault})"
    by_gpu = [f"{counted(sessions, 'video')} by {NVENC.codec}"] if sessions else []
    logger.info("encoders: %s", ", ".join([*by_gpu, *([rest] if sessions < videos else [])]))
    return [NVENC] * sessions + [SOFTWARE] * (videos - sessions)


def sessions_of(encoder: Encoder, most: int) -> tuple[int, str]:
    """Count the videos, up to `most`, that can be encoded at a time, by encoding a frame of each; and why not more."""
    opened: list[Any] = []  # together: some GPUs limit the videos at a time
    for _ in range(most):
        try:
            context: Any = av.CodecContext.create(encoder.codec, "w")
            context.width, context.height = PROBE_SIZE
            context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 30), Fraction(30)
            context.options = dict(encoder.options)
            frame = av.VideoFrame(*PROBE_SIZE, "yuv420p")
            frame.pts = 0
            context.encode(frame)
            context.encode(None)
        except (av.FFmpegError, ValueError) as error:  # ValueError: this build of FFmpeg lacks the encoder
            return len(opened), getattr(error, "strerror", None) or f"no encoder {error}"
        opened.append(context)
    return most, ""
