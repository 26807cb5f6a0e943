"""The Technicolor light-field layout: <Scene>_undist_<frame>_<camera>.png and cameras_parameters.txt."""

from __future__ import annotations

from common.deferred import deferred
from scenes.layouts.spec import LayoutSpec, Preparation
from scenes.preparation.options import PrepareOptions

TECHNICOLOR = LayoutSpec(
    name="technicolor",
    loader="technicolor",
    title="Technicolor",
    test_camera="cam10",
    read=deferred("scenes.layouts.technicolor.reader:read_technicolor"),
    is_like=deferred("scenes.layouts.technicolor.reader:is_like_technicolor"),
    preparation=Preparation(
        options=PrepareOptions, run=deferred("scenes.layouts.technicolor.preparation:prepare_technicolor")
    ),
    trained_on_footage=False,
)
