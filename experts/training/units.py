"""The world in which lengths of published settings hold."""

from __future__ import annotations

N3V_EXTENT = 6.5
"""About the extent (1.1 x largest distance of a training camera from their mean) of N3V's rigs, in world units of their
`poses_bounds.npy`. What upstream code has in those units, or multiplies by the extent where no length is meant, holds
at this extent; over it, it holds in a world of any units."""
