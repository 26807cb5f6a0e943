"""E-D3DGS (Bae et al., ECCV 2024): an embedding for each Gaussian, two networks that deform it."""

from common.deferred import deferred
from experts.ed3dgs.presets import PRESETS
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name="E-D3DGS",
    key="ed3dgs",
    flag="emb_path",
    load=deferred("experts.ed3dgs.files:load_ed3dgs"),
    save=deferred("experts.ed3dgs.files:save_ed3dgs"),
    write_routed=deferred("experts.ed3dgs.files:write_routed_ed3dgs"),
    read_routed=deferred("experts.canonical.files:read_routed"),
    signature=("embedding_0",),
    has_clock=True,
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=deferred("experts.ed3dgs.start:start_model"),
        trainer=deferred("experts.ed3dgs.training:ED3DGSTrainer"),
        gaussian_bytes=10_400,
        usual_gaussians=200_000,
    ),
    random_model=deferred("experts.ed3dgs.random_model:random_ed3dgs"),
)
