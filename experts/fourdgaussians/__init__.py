"""4DGaussians (Wu et al., CVPR 2024): one network on HexPlane features deforms all Gaussians."""

from experts.canonical.files import read_routed
from experts.fourdgaussians.files import load_fourdgaussians, save_fourdgaussians, write_routed_fourdgaussians
from experts.fourdgaussians.model import FourDGaussians
from experts.fourdgaussians.presets import PRESETS
from experts.fourdgaussians.random_model import random_fourdgaussians
from experts.fourdgaussians.start import start_model
from experts.fourdgaussians.training import FourDGaussiansTrainer
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name=FourDGaussians.name,
    key="4dgaussians",
    flag="fgaussian_path",
    load=load_fourdgaussians,
    save=save_fourdgaussians,
    write_routed=write_routed_fourdgaussians,
    read_routed=read_routed,
    signature=("f_dc_0",),
    has_clock=True,
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=start_model,
        trainer=FourDGaussiansTrainer,
        gaussian_bytes=9400,
        usual_gaussians=100_000,
    ),
    random_model=random_fourdgaussians,
)
