"""The router of some of a router's experts: their gates are those of the softmax without the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from router.router import Router


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
