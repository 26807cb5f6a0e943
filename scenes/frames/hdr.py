"""Warnings of videos whose colours are lost in 8-bit frames."""

from __future__ import annotations

from collections.abc import Mapping

from common.text.wording import first_and_more
from scenes.frames.video import Video

_TO_LINEAR = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable"
_TO_BT709 = "zscale=t=bt709:m=bt709:p=bt709:r=tv,format=yuv420p"


def coding_warnings(videos: Mapping[str, Video]) -> list[str]:
    """Warn of cameras whose video is HDR or has BT.2020 primaries, one line each kind: their frames look pale."""
    codings = {name: video.coding for name, video in videos.items() if video.coding}
    hdr = {name: coding for name, coding in codings.items() if coding.is_hdr}
    wide = [name for name, coding in codings.items() if coding.wide and not coding.is_hdr]
    warnings = []
    if hdr:
        kinds = " and ".join(sorted({f"{coding.transfer}, {coding.bits} bit" for coding in hdr.values()}))
        warnings.append(
            f"video is HDR ({kinds}; {first_and_more(list(hdr))}): frames are read as 8-bit without tone mapping and "
            f"look pale; convert each video: {_convert(videos[next(iter(hdr))], f'{_TO_LINEAR},{_TO_BT709}')}"
        )
    if wide:
        warnings.append(
            f"video has BT.2020 colours ({first_and_more(wide)}): frames are read as if they were BT.709 and look "
            f"pale; convert each video: {_convert(videos[wide[0]], _TO_BT709)}"
        )
    return warnings


def coding_notes(videos: Mapping[str, Video]) -> list[str]:
    """Remark on SDR videos of more than 8 bits."""
    codings = {name: video.coding for name, video in videos.items() if video.coding}
    deep = {name: coding for name, coding in codings.items() if coding.bits > 8 and not coding.is_hdr}
    if not deep:
        return []
    bits = " and ".join(str(count) for count in sorted({coding.bits for coding in deep.values()}))
    return [f"video has {bits} bits ({first_and_more(list(deep))}): frames are read with 8 bits"]


def _convert(video: Video, filters: str) -> str:
    return f"ffmpeg -i {video.path.name} -vf {filters} -c:v libx264 -crf 12 new/{video.path.stem}.mp4"
