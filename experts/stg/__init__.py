"""STG, Spacetime Gaussians (Li et al., CVPR 2024): polynomial motion and a temporal window."""

from experts.spec import ExpertSpec, SegmentFolders, TrainingSpec
from experts.stg.files import load_stg, read_routed_stg, save_stg, write_routed_stg
from experts.stg.model import STG
from experts.stg.presets import PRESETS
from experts.stg.random_model import random_stg
from experts.stg.segments import segment_folder, segment_names
from experts.stg.start import start_model
from experts.stg.training import STGTrainer

SPEC = ExpertSpec(
    name=STG.name,
    key="stg",
    flag="stg_path",
    load=load_stg,
    save=save_stg,
    write_routed=write_routed_stg,
    read_routed=read_routed_stg,
    signature=("trbf_center",),
    has_planes=True,
    segments=SegmentFolders(folder=segment_folder, names=segment_names),
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="all",
        start_model=start_model,
        trainer=STGTrainer,
        gaussian_bytes=7600,
        usual_gaussians=170_000,
    ),
    random_model=random_stg,
)
