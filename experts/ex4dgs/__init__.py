"""Ex4DGS (Lee et al., NeurIPS 2024): static Gaussians, and dynamic ones with keyframes."""

from experts.ex4dgs.files import load_ex4dgs, read_routed_ex4dgs, save_ex4dgs, write_routed_ex4dgs
from experts.ex4dgs.model import Ex4DGS, world_scale_of
from experts.ex4dgs.presets import PRESETS
from experts.ex4dgs.random_model import random_ex4dgs
from experts.ex4dgs.start import start_model
from experts.ex4dgs.training import Ex4DGSTrainer
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name=Ex4DGS.name,
    key="ex4dgs",
    flag="model_path",
    alias="-m",
    load=load_ex4dgs,
    save=save_ex4dgs,
    write_routed=write_routed_ex4dgs,
    read_routed=read_routed_ex4dgs,
    signature=("xyz_disp_0", "motion_xyz_0_0"),
    has_planes=True,
    world_scale=world_scale_of,
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=start_model,
        trainer=Ex4DGSTrainer,
        gaussian_bytes=2300,
        usual_gaussians=470_000,
    ),
    random_model=random_ex4dgs,
)
