"""JSON facts with a hash of themselves: what changed since it was written is told from what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

HASH = "hash"  # key of the hash, of all other keys and values


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts of JSON types, as they will be read, with their hash."""
    return {**facts, HASH: _hash_of(facts)}


def is_as_written(facts: Mapping[str, Any]) -> bool:
    """Tell whether facts are those that were sealed; those of earlier versions have no hash."""
    return HASH not in facts or facts[HASH] == _hash_of(facts)


def _hash_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of facts as JSON, their own hash left out."""
    content = {key: value for key, value in facts.items() if key != HASH}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
