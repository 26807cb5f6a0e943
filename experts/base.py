"""The interface of all experts: a frozen dynamic Gaussian model that gives Gaussians at a frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from moegs_rasterizer import Camera, Gaussians, RasterSettings, Splat

from common.disk.faults import ToldError

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["float32", "tf32", "float16", "bfloat16"]  # of networks; tf32: of a GPU alone

MAX_LOG_WIDTH = 40.0  # of a temporal window, of either sign: wider than any clip, or shut; squares still fit float32


class CheckpointError(ToldError, ValueError):
    """A checkpoint that cannot be used; one line naming the file, the fault and what to do."""


class DivergedError(RuntimeError):
    """A training whose loss is no longer finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Facts a run knows that a checkpoint may not; None: the checkpoint's own, else the preset's."""

    scene: str | None = None  # scene name: folders of segments may carry it, cfg_args is compared with it
    iteration: int | None = None  # None: the highest in point_cloud/
    num_frames: int | None = None  # frames of the run's clip
    frame_rate: float | None = None  # of that, frames a second; None: its footage is images
    trained_frames: int | None = None  # frames an expert was most likely trained on, where its cfg_args do not say
    expert_frames: int | None = None  # frames it was trained on, as the user says: beats its cfg_args
    near: float | None = None  # near and far culling planes, scene units, of experts for which they can be chosen
    far: float | None = None
    config_near: float | None = None  # those of a JSON config, which the checkpoint's own beat
    config_far: float | None = None
    config: Path | None = None  # that file, for the warning where the two differ; None: no warning
    world_scale: float = 1.0  # data units per model unit, as the expert's row says
    trust_checkpoint: bool = False  # allow a full pickle where the safe loader refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Origin of a loaded expert, for logs, hashes and reports."""

    files: tuple[Path, ...]  # every file read, in reading order
    iteration: int
    notes: tuple[str, ...] = field(default=())  # one line per inferred setting: "net_width 128 (from shapes)"
    clip_is_assumed: bool = False  # nothing says on how many frames it was trained, which its network's time needs


@runtime_checkable
class Expert(Protocol):
    """A pretrained dynamic model as the router sees it (an nn.Module whose parameters are the checkpoint's tensors).

    It computes on its parameters' device, without waiting for it.

    Frames are relative to the clip's start: 0 ... num_frames - 1, fractions allowed.

    An expert whose `at` does not look at the camera may say so: `same_for_all_cameras = True`. Then its Gaussians of a
    frame can be kept for all cameras together (experts/kept_frames.py).
    """

    name: str  # in the run: that of EXPERTS, numbered where a run has several of a kind ("STG-2")
    background: tuple[float, ...]  # one value per colour channel of its Gaussians
    provenance: Provenance

    @property
    def num_gaussians(self) -> int:
        """Rows of its routing table: all Gaussians of all segments."""
        ...

    @property
    def settings(self) -> RasterSettings:
        """The splatting convention of its training; near and far in data units."""
        ...

    def rows(self, frame: float) -> slice:
        """Rows of the routing table that are alive at this frame, in the order of `at(frame)` (STG: one segment)."""
        ...

    def at(self, frame: float, *, camera: int | None = None) -> Gaussians:
        """Gaussians at a frame, activated, in data units, in the order of `rows(frame)`.

        Quaternions are rasterized as they are, whatever their length. camera: number of a *training* camera, for
        experts with parameters for each camera (E-D3DGS).
        """
        ...

    def colour(self, splat: Splat, camera: Camera, *, frame: float) -> Tensor:
        """RGB [3, h, w] from the rasterized Gaussians of a frame (STG full decodes nine channels and rays here)."""
        ...
