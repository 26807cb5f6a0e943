"""Ex4DGS (Lee et al., NeurIPS 2024): static Gaussians, and dynamic ones with keyframes."""

from common.deferred import deferred
from experts.ex4dgs.presets import PRESETS
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name="Ex4DGS",
    key="ex4dgs",
    flag="model_path",
    alias="-m",
    load=deferred("experts.ex4dgs.files:load_ex4dgs"),
    save=deferred("experts.ex4dgs.files:save_ex4dgs"),
    write_routed=deferred("experts.ex4dgs.files:write_routed_ex4dgs"),
    read_routed=deferred("experts.ex4dgs.files:read_routed_ex4dgs"),
    signature=("xyz_disp_0", "motion_xyz_0_0"),
    checkpoints=("chkpnt*.pth",),
    has_planes=True,
    world_scale=deferred("experts.ex4dgs.model:world_scale_of"),
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=deferred("experts.ex4dgs.start:start_model"),
        trainer=deferred("experts.ex4dgs.training:Ex4DGSTrainer"),
        gaussian_bytes=2700,
        usual_gaussians=570_000,
        slower_later=1.7,
        larger_later=1.8,
    ),
    random_model=deferred("experts.ex4dgs.random_model:random_ex4dgs"),
)
