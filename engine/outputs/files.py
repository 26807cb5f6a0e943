"""Where results go and how files get there: never half-written, in upstream's folders, tied to content hashes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from experts.formats.torch_files import file_hash, replacing


def write_json(path: Path, value: object) -> Path:
    """Writes indented JSON; JSON has no infinities or NaN, so they become the strings "inf", "-inf" and "nan"."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_portable(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _portable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_png(path: Path, image: np.ndarray) -> Path:
    """Writes a uint8 image, [h, w, 3] RGB or [h, w] grey."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return path


def to_uint8(image: Tensor) -> np.ndarray:
    """uint8 [h, w, 3] or [h, w] of an image [3, h, w] or [h, w] in [0, 1]: clamped, rounded to nearest."""
    values = (image.detach().clamp(0, 1) * 255).round().byte().cpu()
    return (values.permute(1, 2, 0) if values.ndim == 3 else values).contiguous().numpy()


def results_folder(save_path: Path, split: str, iteration: int, *, variant: str = "") -> Path:
    """`<save_path>/<train|test>/itrs_<N>` as upstream; `variant` ("y_offset_0.1") keeps other viewpoints apart."""
    return save_path / split / "_".join(part for part in (f"itrs_{iteration}", variant) if part)


def files_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over the contents of files, in order; a file read before and not touched since is not read again."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat()
        digest.update(bytes.fromhex(_file_hash(path, state.st_size, state.st_mtime_ns)))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _file_hash(path: Path, size: int, modified: int) -> str:
    del size, modified  # part of the cache's key only
    return file_hash(path)


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
