"""The volume-aware pixel router: all that stage 2 learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from router.cues import CueLayer
from router.defaults import DEFAULT_EVAL_TEMPERATURE, DEFAULT_TEMPERATURE
from router.features import RoutingFeatures
from router.heads import DEFAULT_HEAD, HeadKind, new_head
from router.pictures import PictureFeatures
from router.rays import KeptRays


class Router(nn.Module):
    """All that stage 2 learns, with the temperatures that belong to it.

    expert_names and counts (rows of each expert's routing table, 0: it has pictures) come in softmax order. cues: with
    the linear layer of router/cues.py, which the paper has not. eval_temperature None means the training temperature.
    """

    def __init__(
        self,
        expert_names: Sequence[str],
        counts: Sequence[int],
        *,
        kind: HeadKind = DEFAULT_HEAD,
        cues: bool = False,
        init: float = 0.9,
        temperature: float = DEFAULT_TEMPERATURE,
        eval_temperature: float | None = DEFAULT_EVAL_TEMPERATURE,
    ) -> None:
        super().__init__()
        self.expert_names = tuple(expert_names)
        self.features = RoutingFeatures(counts, init)
        self.pictures = nn.ModuleDict(
            {name: PictureFeatures(init) for name, count in zip(expert_names, counts, strict=True) if count == 0}
        )
        self.head_kind = kind
        self.head = new_head(kind)
        self.cues = CueLayer(len(self.expert_names)) if cues else None
        self.rays = KeptRays()
        self.temperature = temperature
        self.eval_temperature = temperature if eval_temperature is None else eval_temperature
        self.file_bytes: int | None = None  # size of the file that holds it; None: it is of no file

    def features_of_pictures(self) -> dict[int, nn.Module]:
        """The modules that make routing weights of pictures, by the number of the expert that has them."""
        names = enumerate(self.expert_names)
        return {index: self.pictures[name] for index, name in names if name in self.pictures}


@torch.no_grad()
def subset(router: Router, names: Sequence[str]) -> Router:
    """A copy of a router for those of its experts that are named, in their order there; at least one is."""
    kept = [index for index, name in enumerate(router.expert_names) if name in names]
    chosen = Router(
        [router.expert_names[index] for index in kept],
        [len(router.features.static[index]) for index in kept],
        kind=router.head_kind,
        cues=router.cues is not None,
        temperature=router.temperature,
        eval_temperature=router.eval_temperature,
    ).to(next(router.parameters()).device)
    chosen.head.load_state_dict(router.head.state_dict())
    for own, index in enumerate(kept):
        chosen.features.static[own].copy_(router.features.static[index])
        chosen.features.temporal[own].copy_(router.features.temporal[index])
    for name, layer in chosen.pictures.items():
        layer.load_state_dict(router.pictures[name].state_dict())
    if chosen.cues is not None and router.cues is not None:
        chosen.cues.load_state_dict({name: value[kept] for name, value in router.cues.state_dict().items()})
    return chosen
