"""STG, Spacetime Gaussians (Li et al., CVPR 2024): polynomial motion and a temporal window."""

from common.deferred import deferred
from experts.spec import ExpertSpec, SegmentFolders, TrainingSpec
from experts.stg.presets import PRESETS
from experts.stg.segments import segment_folder, segment_frames, segment_names

SPEC = ExpertSpec(
    name="STG",
    key="stg",
    flag="stg_path",
    load=deferred("experts.stg.files:load_stg"),
    save=deferred("experts.stg.files:save_stg"),
    write_routed=deferred("experts.stg.files:write_routed_stg"),
    read_routed=deferred("experts.stg.files:read_routed_stg"),
    signature=("trbf_center",),
    has_planes=True,
    segments=SegmentFolders(
        folder=segment_folder,
        names=segment_names,
        frames=segment_frames,
        models=deferred("experts.stg.training:single_segments"),
    ),
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="all",
        start_model=deferred("experts.stg.start:start_model"),
        trainer=deferred("experts.stg.training:STGTrainer"),
        gaussian_bytes=2900,
        pixel_bytes=770,
        usual_gaussians=170_000,
    ),
    random_model=deferred("experts.stg.random_model:random_stg"),
)
