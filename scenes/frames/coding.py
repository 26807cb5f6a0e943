"""Coding of a video's colours: bit depth, transfer and primaries."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.codeccontext import VideoCodecContext

_HDR = {16: "PQ", 18: "HLG"}  # numbers of ITU-T H.273, table 3: smpte2084 and arib-std-b67
_BT2020 = 9  # ITU-T H.273, table 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """Colours of a video as its header tells them."""

    pixel_format: str  # FFmpeg's name, "yuv420p"
    bits: int  # per colour component
    transfer: str = "SDR"  # or "PQ", "HLG"
    wide: bool = False  # BT.2020 primaries

    @property
    def is_hdr(self) -> bool:
        return self.transfer != "SDR"


def coding_of(codec: VideoCodecContext) -> Coding:
    """Read the coding of an opened video stream's codec."""
    layout = codec.format
    return Coding(
        pixel_format=layout.name if layout else "unknown",
        bits=max((component.bits for component in layout.components), default=8) if layout else 8,
        transfer=_HDR.get(int(codec.color_trc or 0), "SDR"),
        wide=int(codec.color_primaries or 0) == _BT2020,
    )
