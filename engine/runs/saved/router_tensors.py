"""The tensors of a router by name, as its checkpoints hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from common.disk.faults import reading
from common.maths.tensors import tensors_hash
from experts.base import CheckpointError
from router import Router


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; CheckpointError where it is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; the checkpoint is incomplete, use another iteration")
    with reading(path, "damaged", CheckpointError, advice="use another iteration"):
        return load_file(path)


def named_tensors(router: Router) -> dict[str, Tensor]:
    """The router's tensors where they are, tables by expert: "head.mlp1.weight", "cues.bias", "STG.static".

    An expert with pictures has a table without rows, and "Videos.pictures".
    """
    tensors = {f"head.{name}": value for name, value in router.head.state_dict().items()}
    if router.cues is not None:
        tensors |= {f"cues.{name}": value for name, value in router.cues.state_dict().items()}
    for index, name in enumerate(router.expert_names):
        tensors[f"{name}.static"] = router.features.static[index].detach()
        tensors[f"{name}.temporal"] = router.features.temporal[index].detach()
    for name, layer in router.pictures.items():
        tensors[f"{name}.pictures"] = layer.get_parameter("weight").detach()
    return tensors


def fill(router: Router, tensors: Mapping[str, Tensor], *, expected_hash: str) -> bool:
    """Gives a router its tensors; False, and nothing is done, where they are not its own or have another hash."""
    wanted = named_tensors(router)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if (
        shapes != {name: tuple(tensor.shape) for name, tensor in wanted.items()}
        or tensors_hash(tensors) != expected_hash
    ):
        return False
    for name, tensor in wanted.items():
        tensor.copy_(tensors[name])
    return True
