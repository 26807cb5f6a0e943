"""COLMAP models of some frames of a rig, and the point clouds made from them, as steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from moegs_rasterizer import Camera

from common.text.progress import tracked
from scenes.frames.clip import Clip
from scenes.preparation.damaged import check_image
from scenes.preparation.frames import ImagesByFrame
from scenes.preparation.options import PrepareOptions
from scenes.preparation.report import PreparedCloud
from scenes.preparation.sfm.attempts import CloudReport, NoPointsError
from scenes.preparation.sfm.clouds import LIMITS, write_clouds
from scenes.preparation.sfm.mapping import mapped, poses_bounds_from
from scenes.preparation.sfm.triangulation import triangulated
from scenes.preparation.steps import PreparationStep, Workbench
from scenes.types import SceneError

_VERSION = 1
NO_MATTER = ("threads", "progress")  # options of structure from motion that change no result


@dataclass(frozen=True, slots=True, kw_only=True)
class Sfm:
    """The functions that find points and cameras; tests put others in their place."""

    triangulated: Callable[..., CloudReport]  # images and cameras by name, target folder, options
    mapped: Callable[..., CloudReport]  # images by name, target folder, options
    write_clouds: Callable[[Sequence[Path], Path], dict[str, int]]
    poses_bounds_from: Callable[[Path, Path], None]


PYCOLMAP = Sfm(triangulated=triangulated, mapped=mapped, write_clouds=write_clouds, poses_bounds_from=poses_bounds_from)


def wanted_frames(clip: Clip, every: int | None) -> list[int]:
    """Number the frames that get a COLMAP model: the clip's first, and every N-th after it."""
    return list(range(clip.start, clip.start + clip.count, every or clip.count))


def model_outputs(frames: Iterable[int]) -> list[str]:
    """List the files and folders that the models of these frames, and the clouds, will take."""
    return [*(f"colmap_{frame}" for frame in frames), *LIMITS]


def colmap_model_folder(root: Path, frame: int) -> Path:
    return root / f"colmap_{frame}" / "sparse" / "0"


def prepared_models(
    bench: Workbench,
    images: ImagesByFrame,
    cameras: Mapping[str, Camera],
    options: PrepareOptions,
    sfm: Sfm,
    *,
    start: int,
) -> tuple[list[PreparedCloud], list[str]]:
    """Make `colmap_<frame>` of every frame, by triangulation with known cameras; gives remarks, too.

    With leave to be poor, a frame without points has no model, unless it is `start`, whose points experts need.
    """
    known = {"cameras": {name: camera_numbers(camera) for name, camera in cameras.items()}}
    made, remarks = [], []
    for frame in tracked(images, "COLMAP models", unit="frame", shown=options.progress):
        find = _triangulating(images[frame], cameras, options, sfm)
        paths = list(images[frame].values())
        try:
            made.append(prepared_model(bench, frame, paths, settings=known, options=options, find=find))
        except NoPointsError:
            if frame == start or not options.sfm.accept_poor:
                raise
            bench.drop(f"colmap_{frame}")  # of an earlier run
            remarks.append(f"no points were found at frame {frame}: there is no colmap_{frame}")
    return made, remarks


def _triangulating(
    images: Mapping[str, Path], cameras: Mapping[str, Camera], options: PrepareOptions, sfm: Sfm
) -> Callable[[Path], CloudReport]:
    return lambda target: sfm.triangulated(whole_images(images), cameras, target, options.sfm)


def prepared_model(
    bench: Workbench,
    frame: int,
    images: Sequence[Path],
    *,
    settings: Mapping[str, Any],
    options: PrepareOptions,
    find: Callable[[Path], CloudReport],
) -> PreparedCloud:
    """Make `colmap_<frame>` by `find`; a model that was made without leave to be poor needs none."""
    folder = f"colmap_{frame}"
    sfm = {name: value for name, value in asdict(options.sfm).items() if name not in NO_MATTER}
    step = PreparationStep(
        name=folder,
        version=_VERSION,
        inputs=images,
        options={**settings, "sfm": {**sfm, "accept_poor": False}},
        outputs=[folder],
        make=lambda scratch: asdict(find(scratch / folder)),
    )
    if options.sfm.accept_poor and not bench.is_current(step):
        step = replace(step, options={**settings, "sfm": sfm})
    report = bench.run(step)
    return PreparedCloud(
        frame=frame,
        model=colmap_model_folder(bench.root, frame),
        cameras=report["cameras"],
        registered=report["registered"],
        points=report["points"],
        median_error=report["median_error"],
        tried=tuple(report["tried"]),
    )


def prepared_clouds(bench: Workbench, frame: int, sfm: Sfm) -> dict[str, int]:
    """Make the scene's point clouds from one frame's model; returns the number of points by file name."""
    model = colmap_model_folder(bench.root, frame)
    step = PreparationStep(
        name="clouds",
        version=_VERSION,
        inputs=[model],
        options={},
        outputs=list(LIMITS),
        make=lambda scratch: sfm.write_clouds([model], scratch),
    )
    return bench.run(step)


def whole_images(images: Mapping[str, Path]) -> Mapping[str, Path]:
    """Return the same images; SceneError where one does not decode."""
    for path in images.values():
        if not check_image(path).whole:
            raise SceneError(f"{path}: damaged; copy it again or put a neighbouring frame in its place")
    return images


def camera_numbers(camera: Camera) -> list[float]:
    """List a camera's numbers, as JSON types."""
    intrinsics = [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]
    return [*intrinsics, *camera.world_to_camera.double().flatten().tolist()]
