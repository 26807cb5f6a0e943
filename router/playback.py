"""Frames at one camera, one after the other, by one CUDA graph: the host launches a graph where it launched kernels.

A frame's Gaussians are copied to where the graph reads them. Rows that a frame lacks have no opacity there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from moegs_rasterizer import Camera, Gaussians, Layer, Splat, camera_rays, rasterize
from moegs_rasterizer.types import Backend, TileRule
from torch import Tensor

from common.maths.tensors import constant
from experts.base import Expert
from experts.kept_frames import ExpertFrames, tensors_of
from experts.windows.model import WindowedExpert
from router.features import FEATURE_BACKGROUND
from router.mixing import blended
from router.novel_views import PLAIN
from router.router import Router

RGB = 3
WARM_UP = 3  # drawings before a graph is captured: libraries are loaded, and memory for instances is known


class Playback:
    """Plays a mixture, or one expert where there is no router, at one camera without rules for novel views.

    source: where Gaussians come from; one that keeps frames leaves the graph alone to be waited for. A graph holds the
    camera: another needs a Playback of its own. It has room for 1.1 times as many pairs of a tile and a Gaussian as a
    frame of `prepare` has at most; a frame with more is drawn slowly, with the same bits. Bad values of a frame that
    was not prepared make its image NaN, and no error tells of them. Raises ValueError for an expert whose image is more
    than its splatted colour (STG's decoder), and for one of windows.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        camera: Camera,
        *,
        source: ExpertFrames,
        router: Router | None = None,
        camera_number: int | None = None,
        backend: Backend = "auto",
        tile_rule: TileRule | None = None,
    ) -> None:
        for expert in experts:
            if isinstance(expert, WindowedExpert):
                raise ValueError(f"{expert.name} is of windows, whose images fade into each other: no graph holds both")
            if len(expert.background) != RGB:
                raise ValueError(f"{expert.name} decodes {len(expert.background)} channels, which no graph can hold")
        if router is None and len(experts) != 1:
            raise ValueError(f"{len(experts)} experts are to be played without a router: give one, or the router")
        self.experts, self.camera, self.router = tuple(experts), camera, router
        self._source, self._number, self._backend, self._tile_rule = source, camera_number, backend, tile_rule
        self._buffers: list[dict[str, Tensor]] = []  # what the graph reads, of each expert
        self._filled = [0] * len(self.experts)  # rows that may have opacity
        self._rays: Tensor | None = None
        self._draw: Callable[[], Tensor] | None = None

    @torch.no_grad()
    def prepare(self, frames: Iterable[tuple[float, float]]) -> None:
        """Draws frames (frame, time) once, so that they are kept and the graph has room for them, and captures it."""
        for frame, time in frames:
            self._load(frame, time)
            self._drawn()
        self._draw = None

    @torch.no_grad()
    def image(self, frame: float, time: float) -> Tensor:
        """The image [3, h, w] of a frame, whose memory the next one takes. time: frame / frames of the clip."""
        self._load(frame, time)
        if self._draw is None:
            self._draw = replayed(self._drawn, self._buffers[0]["means"].device)
        return self._draw()

    def _load(self, frame: float, time: float) -> None:
        """Copies a frame's Gaussians and routing weights to the buffers, in one launch."""
        given = [self._tensors(index, frame, time) for index in range(len(self.experts))]
        if not self._buffers or any(not _fits(one, into) for one, into in zip(given, self._buffers, strict=True)):
            self._buffers = [
                {name: tensor.new_zeros(_rows(expert, frame), *tensor.shape[1:]) for name, tensor in one.items()}
                for expert, one in zip(self.experts, given, strict=True)
            ]
            self._filled, self._draw = [0] * len(given), None
        targets, sources = [], []
        for index, (one, into) in enumerate(zip(given, self._buffers, strict=True)):
            rows = len(one["means"])
            if rows < self._filled[index]:
                into["opacities"][rows : self._filled[index]].zero_()
            self._filled[index] = rows
            targets += [into[name][:rows] for name in one]
            sources += list(one.values())
        torch._foreach_copy_(targets, sources)

    def _tensors(self, index: int, frame: float, time: float) -> dict[str, Tensor]:
        expert = self.experts[index]
        found = self._source.of(expert, frame, camera=self._number)
        tensors = tensors_of(found.gaussians)
        if self.router is not None:
            features = self.router.features(index, expert.rows(frame), time)
            tensors["features"] = features if found.rows is None else features.index_select(0, found.rows)
        return tensors

    def _drawn(self) -> Tensor:
        splats = rasterize(
            [self._layer(index) for index in range(len(self.experts))], self.camera, backend=self._backend
        )
        return splats[0].colour if self.router is None else self._blended(self.router, splats)

    def _layer(self, index: int) -> Layer:
        expert, tensors = self.experts[index], dict(self._buffers[index])
        features = tensors.pop("features", None)
        settings = expert.settings if self._tile_rule is None else replace(expert.settings, tile_rule=self._tile_rule)
        if self._backend == "cuda-half" or (self.router is not None and self.router.cues is not None):
            settings = replace(settings, depth="sum")
        like = tensors["means"]
        behind = expert.background if features is None else (*expert.background, *FEATURE_BACKGROUND)
        background = constant(tuple(behind), like.dtype, like.device)
        return Layer(gaussians=Gaussians(**tensors), settings=settings, features=features, background=background)

    def _blended(self, router: Router, splats: Sequence[Splat]) -> Tensor:
        images = torch.stack([splat.colour for splat in splats])
        if self._rays is None:  # by a drawing before the capture
            self._rays = camera_rays(self.camera, dtype=images.dtype, device=images.device)
        temperature = router.eval_temperature
        return blended(router, self.experts, splats, images, self._rays, temperature=temperature, novel=PLAIN).image


def _rows(expert: Expert, frame: float) -> int:
    """Rows of an expert at a frame, also those that were dropped."""
    rows = expert.rows(frame)
    return rows.stop - rows.start


def _fits(one: dict[str, Tensor], into: dict[str, Tensor]) -> bool:
    return one.keys() == into.keys() and all(
        tensor.shape[1:] == into[name].shape[1:] and len(tensor) <= len(into[name]) for name, tensor in one.items()
    )


def replayed(draw: Callable[[], Tensor], device: torch.device) -> Callable[[], Tensor]:
    """The same drawing as a CUDA graph, which writes to the same memory each time; on a CPU the drawing itself."""
    if device.type == "cpu":
        return draw
    from moegs_rasterizer import cuda  # here, because asking may compile it

    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            draw()
    torch.cuda.current_stream(device).wait_stream(side)
    cuda.check()  # takes in how many instances there were, and tells of bad values
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        image = draw()

    def replay() -> Tensor:
        graph.replay()
        return image

    return replay
