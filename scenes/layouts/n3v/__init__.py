"""The Neural 3D Video layout: camXX.mp4 or their frames, and poses_bounds.npy or a COLMAP model."""

from __future__ import annotations

from common.deferred import deferred
from scenes.layouts.n3v.frames import TEST_CAMERA, is_like_n3v
from scenes.layouts.spec import LayoutSpec, Preparation
from scenes.preparation.options import PrepareOptions, VideosOptions

N3V = LayoutSpec(
    name="n3v",
    loader="neural3dvideo",
    title="N3V",
    test_camera=TEST_CAMERA,
    read=deferred("scenes.layouts.n3v.reader:read_n3v"),
    is_like=is_like_n3v,
    preparation=Preparation(options=PrepareOptions, run=deferred("scenes.layouts.n3v.preparation:prepare_n3v")),
    trained_on_footage=True,
    published_centred=True,
    warnings=deferred("scenes.layouts.n3v.reader:unsynchronised"),
    renamed=deferred("scenes.layouts.n3v.naming:renamed_cameras"),
)

VIDEOS = Preparation(
    options=VideosOptions, run=deferred("scenes.layouts.n3v.videos:prepare_videos")
)  # makes a scene in this layout
