"""The table of experts, checked when it is made: most faults of a row would otherwise show at the first save."""

from __future__ import annotations

from itertools import combinations

from experts.formats.columns import GAUSSIAN
from experts.spec import ExpertSpec, is_written


def expert_table(*rows: ExpertSpec) -> dict[str, ExpertSpec]:
    """The rows by name; raises ValueError for a row that cannot be used, and for two that cannot be told apart."""
    for row in rows:
        fault = _row_fault(row)
        if fault is not None:
            raise ValueError(f"EXPERTS: {row.name}: {fault}")
    for one, other in combinations(rows, 2):
        fault = _pair_fault(one, other)
        if fault is not None:
            raise ValueError(
                f"EXPERTS: {one.name} (key {one.key}) and {other.name} (key {other.key}) {fault}; change one of the two"
            )
    return {row.name: row for row in rows}


def _row_fault(row: ExpertSpec) -> str | None:
    if row.key != row.key.lower().replace("-", ""):
        return f"key {row.key!r}: train-expert reads keys without capitals and dashes; write it so"
    if not row.flag.isidentifier():
        return f"flag {row.flag!r}: letters, digits and _ alone, for example toy_path; the dashes before it are added"
    if row.pictures:
        return None if row.checkpoints and not row.signature else "has pictures: give checkpoints, and no signature"
    if not is_written(row):
        return "save, write_routed or random_model is missing; an expert of Gaussians has all three"
    shared = [column for column in row.signature if column in GAUSSIAN]
    if not row.signature or 0 < len(shared) < len(row.signature):
        listed = f"holds 3DGS's own column {shared[0]!r}" if shared else "is empty"
        return f"signature {listed}; name the columns that only this expert's point_cloud.ply has"
    return None


def _pair_fault(one: ExpertSpec, other: ExpertSpec) -> str | None:
    """A message that two rows share what tells experts apart; None where they share nothing."""
    for field in ("name", "key", "flag", "alias"):
        value = getattr(one, field)
        if value is not None and value == getattr(other, field):
            return f"have the same {field}, {value!r}"
    names = _names(one) & _names(other)
    if names:
        return f"share the name or key {min(names)!r}, by which --expert knows them"
    columns = set(one.signature) & set(other.signature)
    if columns:
        return f"have the same column in their signature, {min(columns)!r}"
    if all(row.signature and row.signature[0] in GAUSSIAN for row in (one, other)):
        return f"both have columns of 3DGS alone in their signature, {one.signature[0]!r} and {other.signature[0]!r}"
    return None


def _names(row: ExpertSpec) -> set[str]:
    """Names by which --expert takes an expert, in any case."""
    return {row.name.lower(), row.key.lower()}
