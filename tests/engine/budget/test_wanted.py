from __future__ import annotations

import pytest

from engine.budget.wanted import Budget, read_budget
from engine.errors import ConfigError


def test_parts_come_in_any_order_and_may_be_left_out() -> None:
    whole = Budget(seconds=1200, gpu_bytes=8e9, run_bytes=60e6)
    assert read_budget("20min,8GB,60MB") == read_budget("60 mb, 20 min, 8gb") == whole
    assert read_budget("1.5h") == Budget(seconds=5400) and read_budget("90s") == Budget(seconds=90)
    assert str(whole) == "20 min, 8.0 GB of GPU memory, a run of 60.0 MB"
    assert str(Budget()) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20", "'20' is no number with a unit; give time in min, h or s"),
        ("20m", "'20m' is no number with a unit"),
        ("1.2.3h", "'1.2.3' is no number"),
        ("20min,", "'' is no number with a unit"),
        ("0MB", "'0MB' is nothing: give more than 0"),
        ("20min,1h", "'1h' gives a part a second time"),
        ("-3min", "'-3min' is no number with a unit"),
    ],
)
def test_other_texts_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"--budget .*") as error:
        read_budget(text)
    assert said in str(error.value)
