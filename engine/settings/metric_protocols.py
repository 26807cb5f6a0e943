"""Protocols under which images are measured, one row of PROTOCOLS each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

LpipsNet = Literal["alex", "vgg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricProtocol:
    """Preparation of images for the metrics, by name; scores of different protocols cannot be compared."""

    name: str
    eight_bit: bool  # clamp to [0, 1] and round to 8 bits first, as a file would hold it
    lpips_net: LpipsNet
    lpips_rescaled: bool  # feed LPIPS [-1, 1], as it was trained; otherwise [0, 1], the habit of 3DGS's code


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        MetricProtocol(name="8bit", eight_bit=True, lpips_net="alex", lpips_rescaled=True),
        MetricProtocol(name="8bit_vgg", eight_bit=True, lpips_net="vgg", lpips_rescaled=True),
        MetricProtocol(name="upstream", eight_bit=False, lpips_net="alex", lpips_rescaled=False),
    )
}

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]  # from which the command line knows the choices

DEFAULT_PROTOCOL: ProtocolName = "8bit"


def lpips_range(protocol: MetricProtocol) -> str:
    """The range of values that LPIPS is fed."""
    return "[-1, 1]" if protocol.lpips_rescaled else "[0, 1]"


def protocols_help() -> str:
    """Every protocol in a few words, for the command line's help."""
    return "; ".join(
        f"{protocol.name}: {_pixels(protocol)}, LPIPS({protocol.lpips_net}) on {lpips_range(protocol)}"
        for protocol in PROTOCOLS.values()
    )


def _pixels(protocol: MetricProtocol) -> str:
    return "clamped and rounded to 8 bits" if protocol.eight_bit else "as in the paper's code, not clamped"
