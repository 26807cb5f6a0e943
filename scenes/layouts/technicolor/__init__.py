"""The Technicolor light-field layout: <Scene>_undist_<frame>_<camera>.png and cameras_parameters.txt."""

from __future__ import annotations

from scenes.layouts.spec import LayoutSpec, Preparation
from scenes.layouts.technicolor.preparation import prepare_technicolor
from scenes.layouts.technicolor.reader import is_like_technicolor, read_technicolor
from scenes.preparation.options import PrepareOptions

TECHNICOLOR = LayoutSpec(
    name="technicolor",
    loader="technicolor",
    title="Technicolor",
    test_camera="cam10",
    read=read_technicolor,
    is_like=is_like_technicolor,
    preparation=Preparation(options=PrepareOptions, run=prepare_technicolor),
    trained_on_footage=False,
)
