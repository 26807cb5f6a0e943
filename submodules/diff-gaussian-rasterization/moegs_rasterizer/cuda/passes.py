"""One pass of the CUDA back-end: its input as the operators take it, and the forward pass."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import torch
from torch import Tensor

from ..faults import telling
from ..types import Camera, Layer, RasterizerError, RasterSettings, RawGaussians, RawLayer
from ..validation import LARGEST_SIDE, check_camera, check_dense, check_settings
from ..views import blend_options, settings_numbers
from .reports import MOST_INSTANCES, Mailbox, Report, mailbox

# Tensors in the operators' lists: csrc/cuda/ops.h.
RESULTS, SAVED = 6, 3  # a layer
UNREAD = -1  # in the place of a number of instances that no host reads
HAS_SH, HAS_COLOURS, HAS_FEATURES, IS_RAW = 1, 2, 4, 8  # bits of a layer's kind: csrc/cuda/inputs.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops:
    """The operators, looked up by name once."""

    forward: Any
    blend_backward: Any
    project_backward: Any
    look_at_background: Any


@functools.cache
def operators() -> Ops:
    """The operators of the loaded library."""
    library = torch.ops.moegs_rasterizer_cuda
    return Ops(
        forward=telling(library, library.forward.default),
        blend_backward=telling(library, library.blend_backward.default),
        project_backward=telling(library, library.project_backward.default),
        look_at_background=telling(library, library.look_at_background.default),
    )


def stream_of(device: torch.device) -> torch.cuda.Stream:
    """PyTorch's current stream on the device."""
    return torch.cuda.current_stream(device)


def captured() -> bool:
    """True where kernels launched now are recorded in a CUDA graph instead of run."""
    return torch.cuda.is_current_stream_capturing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The tensors of some layers, in the order of GivenTensor in csrc/cuda/ops.h; means fill the place of absent ones.

    Nothing of it has been checked: the forward operator does that.
    """

    tensors: list[Tensor]
    kinds: list[int]
    settings: list[float]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaPass:
    """Arguments of a pass that are no tensors of Gaussians."""

    world_to_camera: Tensor  # on the CPU
    pinhole: tuple[float, float, float, float]
    width: int
    height: int
    first_layer: int
    deterministic: bool
    half: bool  # images in half precision; without gradients
    device: torch.device
    stream: torch.cuda.Stream  # of PyTorch on the device: autograd runs a pass's backward on the stream of its forward

    @property
    def mailbox(self) -> Mailbox:
        """The reports of the pass's GPU."""
        return mailbox(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Results of a forward pass that a backward pass follows."""

    results: Sequence[Tensor]  # RESULTS a layer: means2d, radii, colour, features, alpha, depth
    saved: Sequence[Tensor]  # SAVED a layer: conics, colours from sh, transmittance left
    kept: Tensor  # bytes for the backward pass
    kinds: list[int]
    views: Tensor
    capacity: int
    report: Report | None  # None in a CUDA graph, whose replays nobody waits for


def pass_of(
    camera: Camera, device: torch.device, *, first_layer: int, deterministic: bool = False, half: bool = False
) -> CudaPass:
    """The pass of a call; where the camera's matrix lies on a GPU, this waits for it."""
    matrix = camera.world_to_camera
    check_dense("camera", "world_to_camera", matrix)
    if max(camera.width, camera.height) > LARGEST_SIDE or matrix.is_complex():
        check_camera(camera)
    if matrix.is_cuda and captured():
        raise RasterizerError(
            "a CUDA graph cannot capture a camera whose world_to_camera lies on the GPU; give it on the CPU, and move "
            "it between replays with cuda.captured_calls()[-1].look_from(camera)"
        )
    if not (matrix.is_cpu and matrix.is_floating_point() and matrix.element_size() >= 4):
        matrix = matrix.to("cpu", torch.float64)
    return CudaPass(
        world_to_camera=matrix,
        pinhole=(float(camera.fx), float(camera.fy), float(camera.cx), float(camera.cy)),
        width=index(camera.width),
        height=index(camera.height),
        first_layer=first_layer,
        deterministic=deterministic,
        half=half,
        device=device,
        stream=stream_of(device),
    )


def given_of(layers: Sequence[Layer | RawLayer]) -> Given:
    """The layers' tensors, made contiguous where they are not."""
    tensors: list[Tensor] = []
    kinds: list[int] = []
    settings: list[float] = []
    rows = 0
    for layer in layers:
        given, features = layer.gaussians, layer.features
        means = given.means.contiguous()
        if isinstance(given, RawGaussians):
            kind = HAS_SH + IS_RAW
            shape = (given.log_scales, given.quats, given.opacity_logits, given.sh_dc, given.sh_rest)
        else:
            sh, colours = given.sh, given.colours
            kind = (0 if sh is None else HAS_SH) + (0 if colours is None else HAS_COLOURS)
            shape = (
                given.scales,
                given.quats,
                given.opacities,
                means if sh is None else sh,
                means if colours is None else colours,
            )
        kinds.append(kind + (0 if features is None else HAS_FEATURES))
        tensors.append(means)
        tensors += [tensor.contiguous() for tensor in shape]
        tensors += (means if features is None else features.contiguous(), layer.background.contiguous())
        if any(tensor.is_nested for tensor in tensors):  # the others that are not dense have no `contiguous`
            raise RasterizerError(f"layer {len(kinds) - 1}: a nested tensor, expected dense ones")
        settings += _numbers_of(layer.settings)
        rows += means.shape[0]
    return Given(tensors=tensors, kinds=kinds, settings=settings, rows=rows)


def images_of(cuda_pass: CudaPass, given: Given) -> list[Tensor]:
    """RESULTS tensors a layer, of a pass that no backward pass follows."""
    made, _, _ = _forward(cuda_pass, given, save=False)
    return made


def made_of(cuda_pass: CudaPass, given: Given) -> Made:
    """The forward pass of one that a backward pass follows."""
    if cuda_pass.deterministic and captured():
        raise RasterizerError(
            "a CUDA graph cannot capture deterministic gradients, whose order of sums needs to know what the GPU "
            "counted; leave deterministic=True out"
        )
    made, capacity, report = _forward(cuda_pass, given, save=True)
    results = RESULTS * len(given.kinds)
    return Made(
        results=made[:results],
        saved=made[results:-2],
        kept=made[-2],
        kinds=given.kinds,
        views=made[-1],
        capacity=capacity,
        report=report,
    )


def check_room(instances: int) -> None:
    """Raise RasterizerError for more instances than lists can hold."""
    if instances > MOST_INSTANCES:
        raise RasterizerError(
            f"{instances} pairs of Gaussians and tiles are more than the CUDA back-end's gradients can list "
            f"({MOST_INSTANCES}); render fewer or smaller Gaussians, or fewer layers in one call"
        )


def _forward(cuda_pass: CudaPass, given: Given, *, save: bool) -> tuple[list[Tensor], int, Report | None]:
    """The operator's tensors, the room there was for instances, and the GPU's report, still to come."""
    box, width, height = cuda_pass.mailbox, cuda_pass.width, cuda_pass.height
    size = (width, height, len(given.kinds), given.rows.bit_length())
    in_graph = captured()
    moving = 0
    if in_graph:
        box.read()
        capacity = box.capacity(size, given.rows)
        sequence, mail, call = box.watch(
            capacity=capacity, layers=len(given.kinds), first_layer=cuda_pass.first_layer, size=(width, height)
        )
        moving = call.views.data_ptr()
    else:
        sequence, mail = box.open()
        capacity = box.capacity(size, given.rows)
    made: list[Tensor] = operators().forward(
        given.tensors,
        given.kinds,
        cuda_pass.world_to_camera,
        cuda_pass.pinhole,
        given.settings,
        mail,
        sequence,
        moving,
        capacity,
        width,
        height,
        save,
        cuda_pass.half,
        cuda_pass.stream.cuda_stream,
    )
    if not made:
        raise RasterizerError(
            f"the CUDA back-end cannot take {len(given.kinds)} layers of {given.rows} Gaussians in all for an image of "
            f"{width}x{height}; render fewer layers in one call, or a smaller image"
        )
    if in_graph:
        return made, capacity, None
    report = box.sent(sequence, size=size, first_layer=cuda_pass.first_layer, stream=cuda_pass.stream)
    return made, capacity, report


@functools.lru_cache(maxsize=256)
def _numbers_of(settings: RasterSettings) -> tuple[float, ...]:
    """A layer's settings in the order of Setting in csrc/cuda/inputs.h; raises RasterizerError for bad ones."""
    check_settings("a layer", settings)
    return tuple(map(float, (*settings_numbers(settings), *blend_options(settings))))
