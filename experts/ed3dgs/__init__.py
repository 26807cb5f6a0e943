"""E-D3DGS (Bae et al., ECCV 2024): an embedding for each Gaussian, two networks that deform it."""

from experts.canonical.files import read_routed
from experts.ed3dgs.files import load_ed3dgs, save_ed3dgs, write_routed_ed3dgs
from experts.ed3dgs.model import ED3DGS
from experts.ed3dgs.presets import PRESETS
from experts.ed3dgs.random_model import random_ed3dgs
from experts.ed3dgs.start import start_model
from experts.ed3dgs.training import ED3DGSTrainer
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name=ED3DGS.name,
    key="ed3dgs",
    flag="emb_path",
    load=load_ed3dgs,
    save=save_ed3dgs,
    write_routed=write_routed_ed3dgs,
    read_routed=read_routed,
    signature=("embedding_0",),
    has_clock=True,
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=start_model,
        trainer=ED3DGSTrainer,
        gaussian_bytes=10_400,
        usual_gaussians=200_000,
    ),
    random_model=random_ed3dgs,
)
