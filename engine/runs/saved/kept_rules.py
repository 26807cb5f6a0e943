"""Rules for novel views as a run keeps them: found from its experts, kept when Gaussians of these are removed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from router.novel_views import RGB, NovelViews

FARTHEST = 1e9  # scene units, as of --novel_near


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRules:
    """The part of the rules that was found from experts: fewer Gaussians would give other ones, and worse.

    With most Gaussians gone, training views have holes, which would then count as usual.
    """

    near: float | None  # scene units; None: nothing is culled
    hole_colour: tuple[float, float, float] | None  # None: nothing was found, because coverage did not limit gates
    usual_coverage: float

    @classmethod
    def from_json(cls, entry: dict[str, Any] | None) -> KeptRules | None:
        """Rules of router.json; None where an earlier version wrote it. ValueError for what makes no picture."""
        if entry is None:
            return None
        rules, colour = cls(**entry), entry["hole_colour"]
        shares = [rules.usual_coverage, *(colour or (0.0,) * RGB)]
        near = 0.0 if rules.near is None else rules.near
        if len(shares) != 1 + RGB or not all(0 <= share <= 1 for share in shares) or not 0 <= near <= FARTHEST:
            raise ValueError(f"novel_views is {entry!r}")
        return rules if colour is None else replace(rules, hole_colour=tuple(colour))

    def to_json(self) -> dict[str, Any]:
        """The rules as router.json has them."""
        return asdict(self)


def rules_to_keep(novel: NovelViews) -> KeptRules:
    """The part of a run's rules for novel views that was found from its experts."""
    return KeptRules(
        near=None if novel.culling is None else novel.culling.near,
        hole_colour=novel.hole_colour,
        usual_coverage=novel.usual_coverage,
    )
