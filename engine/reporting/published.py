"""Published scores, for comparison with tables of our own, each with its source and the protocol it was measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

AVERAGE = "mean"  # in the place of a scene: the mean over all scenes of a data set

PAPER = "MoE-GS (arXiv 2510.19210)"
EX4DGS = "Ex4DGS (NeurIPS 2024)"
STG = "STG, full model (CVPR 2024)"
BY_EX4DGS = "4DGaussians as run by the authors of Ex4DGS (NeurIPS 2024)"
HYPERREEL = "HyperReel (CVPR 2023)"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Scenes that are published together, and the usual protocol: size in pixels, frames, held-out camera."""

    title: str
    scenes: tuple[str, ...]  # names of the scenes' folders
    size: tuple[int, int]
    frames: int
    camera: str


DATA_SETS = {
    "n3v": DataSet(
        title="Neural 3D Video",
        scenes=("coffee_martini", "cook_spinach", "cut_roasted_beef", "flame_salmon_1", "flame_steak", "sear_steak"),
        size=(1352, 1014),
        frames=300,
        camera="cam00",
    ),
    "technicolor": DataSet(
        title="Technicolor",
        scenes=("Birthday", "Fabien", "Painter", "Theater", "Train"),
        size=(2048, 1088),
        frames=50,
        camera="cam10",
    ),
}

SHORT_NAMES = {"flame_salmon": "flame_salmon_1"}  # scenes that are called otherwise too


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Scores of a method on a scene, or AVERAGE, as a paper has them; metrics by name of METRICS."""

    method: str
    scene: str
    scores: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    source: str


def _per_scene(data_set: str, method: str, source: str, metric: str, values: tuple[float, ...]) -> list[Published]:
    scenes = DATA_SETS[data_set].scenes
    return [
        Published(method=method, scene=scene, scores={metric: value}, source=source)
        for scene, value in zip(scenes, values, strict=True)
    ]


# By scene, for the experts: of the papers that have such tables. MoE-GS's own scores by scene are not known here.
BY_SCENE = (
    *_per_scene("n3v", "Ex4DGS", EX4DGS, "psnr", (28.79, 33.23, 33.73, 29.29, 33.91, 33.69)),
    *_per_scene("n3v", "Ex4DGS", EX4DGS, "lpips", (0.070, 0.042, 0.040, 0.066, 0.034, 0.035)),
    *_per_scene("n3v", "STG", STG, "psnr", (28.61, 33.18, 33.52, 29.48, 33.64, 33.89)),
    *_per_scene("n3v", "STG", STG, "lpips", (0.069, 0.037, 0.036, 0.063, 0.029, 0.030)),
    *_per_scene("n3v", "4DGaussians", BY_EX4DGS, "psnr", (27.34, 32.46, 32.90, 29.20, 32.51, 32.49)),
    *_per_scene("technicolor", "Ex4DGS", EX4DGS, "psnr", (32.38, 35.38, 36.73, 31.84, 31.77)),
    *_per_scene("technicolor", "STG", STG, "psnr", (32.09, 35.70, 36.44, 30.99, 32.58)),
    *_per_scene("technicolor", "4DGaussians", BY_EX4DGS, "psnr", (30.87, 33.56, 34.36, 29.81, 25.35)),
)

# Means over a data set's scenes. Those of experts are the MoE-GS paper's, which trained them itself.
AVERAGES = {
    "n3v": (
        Published(method="4DGaussians", scene=AVERAGE, scores={"psnr": 31.43}, source=PAPER),
        Published(method="E-D3DGS", scene=AVERAGE, scores={"psnr": 32.33}, source=PAPER),
        Published(method="STG", scene=AVERAGE, scores={"psnr": 31.92}, source=PAPER),
        Published(method="Ex4DGS", scene=AVERAGE, scores={"psnr": 32.10}, source=PAPER),
        Published(method="MoE-GS, 3 experts", scene=AVERAGE, scores={"psnr": 33.23, "ssim": 0.954}, source=PAPER),
        Published(method="MoE-GS, 4 experts", scene=AVERAGE, scores={"psnr": 33.27}, source=PAPER),
    ),
    "technicolor": (
        Published(method="4DGaussians", scene=AVERAGE, scores={"psnr": 30.79}, source=PAPER),
        Published(method="E-D3DGS", scene=AVERAGE, scores={"psnr": 33.06}, source=PAPER),
        Published(method="STG", scene=AVERAGE, scores={"psnr": 33.69}, source=PAPER),
        Published(method="Ex4DGS", scene=AVERAGE, scores={"psnr": 33.45}, source=PAPER),
        Published(method="MoE-GS, 3 experts", scene=AVERAGE, scores={"psnr": 34.55, "lpips": 0.083}, source=PAPER),
    ),
}

# Other methods, for orientation alone: their protocols differ from ours and among each other.
ANCHORS = {
    "n3v": (
        Published(
            method="SharpTimeGS",
            scene=AVERAGE,
            scores={"psnr": 33.57, "ssim": 0.977, "lpips": 0.031},
            source="SharpTimeGS (arXiv 2602.02989)",
        ),
        Published(
            method="FreeTimeGS++",
            scene=AVERAGE,
            scores={"psnr": 33.40, "lpips": 0.033},
            source="FreeTimeGS++ (arXiv 2605.03337, v3), quoted second-hand",
        ),
        Published(
            method="FreeTimeGS",
            scene=AVERAGE,
            scores={"psnr": 33.19, "ssim": 0.974, "lpips": 0.036},
            source="FreeTimeGS (arXiv 2506.05348)",
        ),
        Published(
            method="ATGS", scene=AVERAGE, scores={"psnr": 32.56, "lpips": 0.043}, source="ATGS (arXiv 2608.30184)"
        ),
    ),
    "technicolor": (
        Published(
            method="Multi4D",
            scene=AVERAGE,
            scores={"psnr": 34.30},
            source="Multi4D (arXiv 2606.22197), quoted second-hand",
        ),
        Published(
            method="CEM4DGS",
            scene=AVERAGE,
            scores={"psnr": 34.04, "lpips": 0.081},
            source="CEM4DGS, quoted second-hand",
        ),
        Published(method="HyperReel", scene=AVERAGE, scores={"psnr": 32.73, "lpips": 0.109}, source=HYPERREEL),
    ),
}


def data_set_of(scene: str) -> str | None:
    """The key in DATA_SETS of a scene's name; None for other scenes."""
    return next((key for key, data_set in DATA_SETS.items() if scene in data_set.scenes), None)


def published_score(scene: str, method: str, metric: str) -> Published | None:
    """The published entry of a method on a scene with a metric; None where there is none."""
    rows = (row for row in BY_SCENE if (row.scene, row.method) == (scene, method) and metric in row.scores)
    return next(rows, None)


def published_mean(data_set: str, method: str, metric: str) -> Published | None:
    """The published mean of a method over a data set; None where there is none."""
    rows = (row for row in AVERAGES[data_set] if row.method == method and metric in row.scores)
    return next(rows, None)
