from __future__ import annotations

import pytest

from scenes import SceneError
from scenes.frames.resize import training_size


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((2704, 2028), 2, (1352, 1014)),
        ((2704, 2028), 8, (338, 254)),  # 253.5 rounds to the even neighbour
        ((2048, 1088), 1, (2048, 1088)),
        ((2704, 2028), -1, (1600, 1200)),
        ((1352, 1014), -1, (1352, 1014)),
        ((1352, 1014), 400, (400, 300)),
        ((1352, 1015), 400, (400, 300)),
        ((160, 120), 320, (320, 240)),
        ((2000, 2), 100, (100, 1)),
    ],
)
def test_rule_of_3dgs(size, resolution, expected):
    assert training_size(*size, resolution) == expected


@pytest.mark.parametrize("resolution", [0, -2])
def test_meaningless_resolutions(resolution):
    with pytest.raises(SceneError, match=f"resolution {resolution} means nothing"):
        training_size(100, 100, resolution)
