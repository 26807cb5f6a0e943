"""4DGaussians (Wu et al., CVPR 2024): one network on HexPlane features deforms all Gaussians."""

from common.deferred import deferred
from experts.fourdgaussians.presets import PRESETS
from experts.spec import ExpertSpec, TrainingSpec

SPEC = ExpertSpec(
    name="4DGaussians",
    key="4dgaussians",
    flag="fgaussian_path",
    load=deferred("experts.fourdgaussians.files:load_fourdgaussians"),
    save=deferred("experts.fourdgaussians.files:save_fourdgaussians"),
    write_routed=deferred("experts.fourdgaussians.files:write_routed_fourdgaussians"),
    read_routed=deferred("experts.canonical.files:read_routed"),
    signature=("f_dc_0",),
    has_clock=True,
    training=TrainingSpec(
        presets=PRESETS,
        start_frames="first",
        start_model=deferred("experts.fourdgaussians.start:start_model"),
        trainer=deferred("experts.fourdgaussians.training:FourDGaussiansTrainer"),
        gaussian_bytes=9400,
        usual_gaussians=100_000,
    ),
    random_model=deferred("experts.fourdgaussians.random_model:random_fourdgaussians"),
)
