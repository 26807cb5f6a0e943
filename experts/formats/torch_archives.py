"""The archive of a torch file, checked before PyTorch reads it: sizes, check sums, and what its tensors claim."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DEEPEST = 50  # containers in containers
_BLOCK = 1 << 20


def check_archive(path: Path) -> None:
    """Compare an archive's records with its directory: sizes, CRC-32, and the bytes of each storage that is asked for.

    PyTorch reads no check sum, and not all versions compare a storage's size with its record. torch.save does not
    compress, so records that grow are refused. ValueError, or what zipfile and pickle raise, where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        records = {record.filename: record for record in archive.infolist()}
        if len(records) != len(archive.infolist()):
            raise ValueError("two of its records have one name")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
            raise ValueError("its records are compressed, which torch.save does not do")
        if sum(record.file_size for record in records.values()) > path.stat().st_size:
            raise ValueError("its records claim more bytes than the file has")
        for name in records:
            with archive.open(name) as record:
                while record.read(_BLOCK):  # zipfile compares the check sum at the end
                    pass
        for name in (name for name in records if name.endswith("/data.pkl")):
            _check_storages(archive, records, name)


def _check_storages(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], name: str) -> None:
    with archive.open(name) as stream:
        claims = _Claims(stream, encoding="utf-8")
        claims.load()
    folder = name.removesuffix("data.pkl")
    for key, size in claims.storages.items():
        held = records[f"{folder}data/{key}"].file_size
        if size > held:
            raise ValueError(f"a storage of {size} bytes is asked for, its record has {held}")


class _Claims(pickle.Unpickler):
    """Reads the sizes of storages that a pickle asks for; every class in it is replaced by one that does nothing."""

    def __init__(self, stream: Any, *, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        kind = getattr(torch, name, None) if module == "torch" and name.endswith("Storage") else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch's, that these classes will go: archives name them
            dtype = getattr(kind, "dtype", torch.uint8)
        return type(name, (_Inert,), {"item_bytes": dtype.itemsize})

    def persistent_load(self, claim: Any) -> Any:
        _, kind, key, _, count = claim
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"a storage of {count!r} numbers")
        size = count * getattr(kind, "item_bytes", 1)
        self.storages[str(key)] = max(size, self.storages.get(str(key), 0))
        return None


class _Inert:
    """Stands for any object of a pickle, and forgets what it is given."""

    def __init__(self, *values: Any, **named: Any) -> None:
        del values, named

    def __setstate__(self, state: Any) -> None:
        del state

    def __setitem__(self, key: Any, value: Any) -> None:
        del key, value

    def append(self, value: Any) -> None:
        del value

    def extend(self, values: Any) -> None:
        del values

    add = append
    update = extend


def check_tensors(content: Any) -> None:
    """Raise ValueError where a tensor in a loaded file is not plain, or shows more numbers than its storage has.

    So a tensor of a stride of 0, which asks for terabytes once it is used, is refused, and the file's size bounds all.
    """
    for tensor in _tensors(content, depth=0):
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.device.type != "cpu":
            raise ValueError(f"a tensor is {tensor.layout} on {tensor.device}, plain ones on the CPU are read")
        strides = zip(tensor.shape, tensor.stride(), strict=True)
        repeats = any(stride <= 0 for size, stride in strides if size > 1)
        if repeats or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"a tensor {list(tensor.shape)} of strides {list(tensor.stride())} shows more than its storage of "
                f"{tensor.untyped_storage().nbytes()} bytes"
            )


def _tensors(content: Any, *, depth: int) -> Iterator[Tensor]:
    if depth > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} containers lie in each other")
    if isinstance(content, Tensor):
        yield content
        return
    inner = content
    if isinstance(content, Mapping):
        inner = [*content.values()]
    elif not isinstance(content, (list, tuple, set)):
        inner = [*getattr(content, "__dict__", {}).values()]
    for part in inner:
        yield from _tensors(part, depth=depth + 1)
