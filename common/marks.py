"""Names of a training step's parts, as torch.profiler shows them: `with record_function(DATA): ...`.

In a router's step each mark is set once, in the order below; no two overlap.
"""

from __future__ import annotations

DATA = "data to the device"
ROUTING_WEIGHTS = "routing weights"


def at_a_frame(expert: str) -> str:
    """The mark of one expert's Gaussians at a frame."""
    return f"{expert} at a frame"


RASTERIZE = "rasterize, forward"
BLEND = "router's head, blend"
LOSS = "loss"
BACKWARD = "backward"
UPDATE = "update"
