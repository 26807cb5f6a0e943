"""FreeTime: Gaussians with lifespans on straight lines, after FreeTimeGS (Wang et al., CVPR 2025)."""

from common.deferred import deferred
from experts.freetime.presets import PRESETS
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name="FreeTime",
    key="freetime",
    flag="freetime_path",
    load=deferred("experts.freetime.files:load_freetime"),
    save=deferred("experts.freetime.files:save_freetime"),
    write_routed=deferred("experts.freetime.files:write_routed_freetime"),
    read_routed=deferred("experts.canonical.files:read_routed"),
    signature=("log_duration",),
    checkpoints=("gaussians.pt", "ckpt_*.pt", "*.ftgs.ply"),
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="all",
        start_model=deferred("experts.freetime.new_model:start_model"),
        trainer=deferred("experts.freetime.training:FreeTimeTrainer"),
        gaussian_bytes=1800,
        pixel_bytes=480,
        usual_gaussians=500_000,
    ),
    random_model=deferred("experts.freetime.random_model:random_freetime"),
)
