from __future__ import annotations

from common.text.suggestions import hint, nearest, ranked

KNOWN = ("iterations", "resolution", "test_iterations")


def test_the_nearest_name():
    assert nearest("iteration", KNOWN) == "iterations"
    assert nearest("iterations", iter(KNOWN)) == "iterations"
    assert nearest("zzz", KNOWN) is None
    assert nearest("anything", ()) is None


def test_the_likeness_decides():
    assert nearest("reso", KNOWN) is None
    assert nearest("reso", KNOWN, likeness=0.5) == "resolution"


def test_a_hint_names_the_nearest_in_any_case_or_all():
    assert hint("Iteration", KNOWN) == "did you mean iterations?"
    assert hint("stg", ("STG", "Ex4DGS")) == "did you mean STG?"
    assert hint("iteration", KNOWN, prefix="--", otherwise="see --help") == "did you mean --iterations?"
    assert hint("zzz", iter(KNOWN)) == "known: iterations, resolution, test_iterations"
    assert hint("zzz", KNOWN, prefix="--", otherwise="see --help") == "see --help"
    assert hint("reso", KNOWN, likeness=0.5) == "did you mean resolution?"


def test_names_in_the_order_of_their_likeness():
    assert ranked("resolutions", KNOWN, 2) == ["resolution", "iterations"]
    assert len(ranked("zzz", KNOWN, 5)) == 3
