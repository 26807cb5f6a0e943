from __future__ import annotations

from common.suggestions import nearest, ranked

KNOWN = ("iterations", "resolution", "test_iterations")


def test_the_nearest_name():
    assert nearest("iteration", KNOWN) == "iterations"
    assert nearest("iterations", iter(KNOWN)) == "iterations"
    assert nearest("zzz", KNOWN) is None
    assert nearest("anything", ()) is None


def test_the_likeness_decides():
    assert nearest("reso", KNOWN) is None
    assert nearest("reso", KNOWN, likeness=0.5) == "resolution"


def test_names_in_the_order_of_their_likeness():
    assert ranked("resolutions", KNOWN, 2) == ["resolution", "iterations"]
    assert len(ranked("zzz", KNOWN, 5)) == 3
