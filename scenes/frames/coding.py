"""Coding of a video's colours: bit depth, transfer and primaries, and warnings where 8-bit frames lose them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from av.video.codeccontext import VideoCodecContext

from common.wording import first_and_more

_HDR = {16: "PQ", 18: "HLG"}  # numbers of ITU-T H.273, table 3: smpte2084 and arib-std-b67
_BT2020 = 9  # ITU-T H.273, table 2
_TO_LINEAR = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable"
_TO_BT709 = "zscale=t=bt709:m=bt709:p=bt709:r=tv,format=yuv420p"


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


def coding_warnings(codings: Mapping[str, Coding]) -> list[str]:
    """Warn of cameras whose video is HDR or has BT.2020 primaries, one line each kind: their frames look pale."""
    hdr = {name: coding for name, coding in codings.items() if coding.is_hdr}
    wide = [name for name, coding in codings.items() if coding.wide and not coding.is_hdr]
    warnings = []
    if hdr:
        kinds = " and ".join(sorted({f"{coding.transfer}, {coding.bits} bit" for coding in hdr.values()}))
        warnings.append(
            f"video is HDR ({kinds}; {first_and_more(list(hdr))}): frames are read as 8-bit without tone mapping and "
            f"look pale; convert each video: {_convert(next(iter(hdr)), f'{_TO_LINEAR},{_TO_BT709}')}"
        )
    if wide:
        warnings.append(
            f"video has BT.2020 colours ({first_and_more(wide)}): frames are read as if they were BT.709 and look "
            f"pale; convert each video: {_convert(wide[0], _TO_BT709)}"
        )
    return warnings


def coding_notes(codings: Mapping[str, Coding]) -> list[str]:
    """Remark on SDR videos of more than 8 bits."""
    deep = {name: coding for name, coding in codings.items() if coding.bits > 8 and not coding.is_hdr}
    if not deep:
        return []
    bits = " and ".join(str(count) for count in sorted({coding.bits for coding in deep.values()}))
    return [f"video has {bits} bits ({first_and_more(list(deep))}): frames are read with 8 bits"]


def _convert(name: str, filters: str) -> str:
    return f"ffmpeg -i {name}.mp4 -vf {filters} -c:v libx264 -crf 12 new/{name}.mp4"
