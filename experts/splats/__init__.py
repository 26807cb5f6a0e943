"""Splats: what files of other programs hold, `.4dgs` and PLY files of every frame, as an expert. It is not trained."""

from common.deferred import deferred
from experts.spec import ExpertSpec

SPEC = ExpertSpec(
    name="Splats",
    key="splats",
    flag="splats_path",
    load=deferred("experts.splats.files:load_splats"),
    save=deferred("experts.splats.files:save_splats"),
    write_routed=deferred("experts.splats.files:write_routed_splats"),
    read_routed=deferred("experts.canonical.files:read_routed"),
    signature=("splat_time", "splat_width"),
    checkpoints=("*.4dgs", "*[0-9].ply"),
    random_model=deferred("experts.splats.random_model:random_splats"),
)
