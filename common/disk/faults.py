"""Faults of files in one line: whatever a parser raises on a stranger's bytes, and a disk that is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space left, quota reached, larger than a file may be

_SHORT_WRITE = " requested and "  # numpy's words for a disk that is full: "9 requested and 4 written"


class ToldError(Exception):
    """Base of errors whose text is already the one line that a user reads."""


class UnwrittenError(ToldError, OSError):
    """A file that could not be written whole: its disk is full, or it would be larger than a file may be."""

    path: Path
    reason: str


@contextmanager
def reading(path: Path, found: str, error: type[ToldError], *, advice: str) -> Iterator[None]:
    """Turn whatever reading a file raises into `error`: "PATH: FOUND (reason); ADVICE".

    It stands where a kind of file is opened, around parser and all. Errors that are told already pass through, and so
    do faults of the file system itself: missing file, no permission.
    """
    try:
        yield
    except ToldError:
        raise
    except Exception as fault:  # an arbitrary byte stream can make a parser raise anything
        if isinstance(fault, OSError) and fault.errno is not None and fault.filename is not None:
            raise
        raise error(f"{path}: {found} ({reason_of(fault)}); {advice}") from fault


def reason_of(fault: BaseException) -> str:
    """The first line of an error's text, after its type's name where the text alone says little."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    name = type(fault).__name__
    if not lines:
        return name
    return lines[0] if isinstance(fault, (ValueError, OSError)) else f"{name}: {lines[0]}"


@contextmanager
def writing(path: Path, *others: type[Exception], made_in: Path | None = None) -> Iterator[None]:
    """Turn a disk that is full while `path` is written into one UnwrittenError that names it.

    An OSError that names a file passes through: it may be another's.

    others: what a library raises in the place of OSError when it cannot write. made_in: the hidden file or folder
    in which the content is made; faults of it, and of files in it, are those of `path`.
    """
    try:
        yield
    except UnwrittenError as fault:
        if not _is_in(made_in, fault.path):
            raise
        raise _unwritten(path, fault) from fault
    except ToldError:
        raise
    except OSError as fault:
        named = fault.filename is not None and not _is_in(made_in, fault.filename, fault.filename2)
        if named or (fault.errno not in FULL and _SHORT_WRITE not in str(fault)):
            raise
        raise _unwritten(path, fault) from fault
    except others as fault:
        raise _unwritten(path, fault) from fault


def _is_in(folder: Path | None, *names: object) -> bool:
    """True where a name of a fault is one below a folder."""
    paths = (Path(name) for name in names if isinstance(name, (str, Path)))
    return folder is not None and any(path.is_relative_to(folder) for path in paths)


def _unwritten(path: Path, fault: Exception) -> UnwrittenError:
    cause = fault.__context__ if isinstance(fault.__context__, OSError) else fault  # torch hides what stopped it
    reason = (cause.strerror if isinstance(cause, OSError) else None) or reason_of(cause)
    reason = fault.reason if isinstance(fault, UnwrittenError) else reason
    reason = os.strerror(errno.ENOSPC) if _SHORT_WRITE in reason else reason
    error = UnwrittenError(f"{path}: cannot be written ({reason}); free space on its disk, or choose another folder")
    error.path, error.reason = path, reason
    return error
