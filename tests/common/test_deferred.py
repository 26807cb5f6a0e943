"""Imports that wait for their first use."""

from __future__ import annotations

import sys
from collections import OrderedDict

import pytest

from common.deferred import deferred, names_of


def test_a_deferred_object_is_called_and_asked_for_attributes() -> None:
    assert deferred("collections:OrderedDict")([(1, 2)]) == OrderedDict([(1, 2)])
    assert deferred("collections:OrderedDict").fromkeys is not None
    assert deferred("collections").OrderedDict is OrderedDict


def test_nothing_is_imported_before_the_first_use() -> None:
    sys.modules.pop("this", None)
    mistyped, poem = deferred("nowhere:f"), deferred("this:s")
    assert "this" not in sys.modules and repr(poem) == "deferred('this:s')"
    with pytest.raises(ImportError, match="nowhere"):
        mistyped()
    with pytest.raises(AttributeError, match="OrderedDit"):
        deferred("collections:OrderedDit")()


def test_names_of_a_package_are_those_of_its_modules() -> None:
    attribute = names_of("collections", {"abc": ["Sized"]})
    assert attribute("Sized") is sys.modules["collections.abc"].Sized
    with pytest.raises(AttributeError, match="module 'collections' has no attribute 'Siezd'"):
        attribute("Siezd")
