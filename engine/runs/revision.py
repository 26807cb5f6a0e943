"""The git revision of this checkout."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from common.text.wording import ROOT

LIMIT = 10.0  # seconds that git may take


def revision(root: Path = ROOT) -> str | None:
    """Give the commit of a checkout, with "-dirty" where tracked files were changed; None where it is none.

    A folder inside the checkout of something else is none.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


@lru_cache(maxsize=1)
def this_revision() -> str | None:
    """Give the revision of this checkout as the process first saw it."""
    return revision()


def _git(root: Path, *arguments: str) -> str | None:
    """The output of a git command; None where there is no git or it fails."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
