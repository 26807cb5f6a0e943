"""Reader of the Technicolor light-field layout."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from moegs_rasterizer import Camera

from common.disk.contained import read_text
from common.disk.faults import reading
from common.maths.geometry import rotation_of
from scenes.calibration.cameras import checked
from scenes.calibration.colmap_model import colmap_folder, colmap_folders, read_colmap_cameras, scene_model
from scenes.frames.clip import choose_clip
from scenes.frames.image_files import NumberedImages, keyed_images, probe_images
from scenes.layouts.contents import no_frames, visible_images
from scenes.layouts.spec import RigFiles
from scenes.options import SceneOptions
from scenes.types import SceneError

IMAGE_NAME = re.compile(r".*_(\d+)_(\d+)")
PATTERN = "<Scene>_undist_<frame>_<camera>.png"
CAMERA_COLUMNS = 12
TABLE = "cameras_parameters.txt"


def is_like_technicolor(name: str) -> bool:
    """Tell whether a file or folder of this name belongs to a Technicolor scene."""
    return name == TABLE or (not name.startswith(".") and IMAGE_NAME.fullmatch(Path(name).stem) is not None)


def read_technicolor(root: Path, options: SceneOptions) -> RigFiles:
    """Read cameras and frames of a Technicolor scene, with its principal points.

    Cameras come from `cameras_parameters.txt`, or where that is missing from `colmap_<first frame>/sparse/0`, else
    from `sparse/0`, whose images are called camXX or as the frames. SceneError where frames or cameras are missing or
    do not fit each other.
    """
    sources = find_images(root)
    clip = choose_clip(sources, options)
    table = root / TABLE
    model = colmap_folder(root, options.start) or colmap_folder(root, clip.start) or scene_model(root)
    if table.is_file():
        cameras = read_camera_table(table, sources)
        notes = [f"frames from {PATTERN}", f"cameras from {table.name}", *_lost_upstream(cameras)]
    elif model is not None:
        cameras = {_model_camera(name): camera for name, camera in read_colmap_cameras(model).items()}
        notes = [f"frames from {PATTERN}", f"cameras from {model.relative_to(root)}"]
    else:
        others = colmap_folders(root)
        hint = f"there is {', '.join(others)}: set start to match" if others else "copy it from the data set"
        raise SceneError(f"{table} not found, nor a COLMAP model in colmap_{clip.start}/sparse/0 or sparse/0; {hint}")
    missing = [name for name in sources if name not in cameras]
    if missing:
        raise SceneError(
            f"{root}: no calibration of {', '.join(missing)}, only of {', '.join(sorted(cameras))}; complete it"
        )
    return RigFiles(
        cameras={name: cameras[name] for name in sources}, sources=sources, clip=clip, notes=(*notes, *clip.notes)
    )


def read_camera_table(path: Path, sources: Mapping[str, NumberedImages]) -> dict[str, Camera]:
    """Read the cameras of a `cameras_parameters.txt`, at their images' size; the i-th row after the header is cam<i>.

    A row holds f cx cy _ _ qw qx qy qz tx ty tz: focal length and principal point in px (COLMAP's), world to camera.
    Rows of cameras without images are passed over. SceneError where a row is unreadable or does not fit the images.
    """
    with reading(path, "not a readable text file", SceneError, advice="copy it again"):
        lines = [line for line in read_text(path).splitlines() if line.strip()]
    cameras = {}
    for index, line in enumerate(lines[1:]):
        name = f"cam{index:02d}"
        if name in sources:
            place = f"{path}: row {index + 1} ({name})"
            cameras[name] = checked(_camera(place, line, sources[name]), place)
    return cameras


def _camera(place: str, line: str, images: NumberedImages) -> Camera:
    try:
        row = [float(value) for value in line.split()]
    except ValueError as error:
        raise SceneError(
            f"{place}: {error}; expected {CAMERA_COLUMNS} numbers f cx cy _ _ qw qx qy qz tx ty tz"
        ) from error
    if len(row) < CAMERA_COLUMNS:
        raise SceneError(f"{place}: {len(row)} numbers, expected {CAMERA_COLUMNS}: f cx cy _ _ qw qx qy qz tx ty tz")
    focal, cx, cy = row[:3]
    if focal <= 0 or not any(row[5:9]) or not torch.tensor(row[:CAMERA_COLUMNS]).isfinite().all():
        raise SceneError(f"{place}: focal length {focal:g}, quaternion {row[5:9]} are no camera; copy the file again")
    if not (0.25 <= cx / images.width <= 0.75 and 0.25 <= cy / images.height <= 0.75):
        raise SceneError(
            f"{place}: principal point ({cx:g}, {cy:g}) is far from the middle of images of "
            f"{images.width}x{images.height} px; use images of the calibrated size"
        )
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3, :3] = rotation_of(row[5:9])
    world_to_camera[:3, 3] = torch.tensor(row[9:12], dtype=torch.float64)
    size = {"width": images.width, "height": images.height}
    return Camera(world_to_camera=world_to_camera, fx=focal, fy=focal, cx=cx, cy=cy, **size)


def find_images(root: Path) -> dict[str, NumberedImages]:
    """Find images by camera name, sorted; SceneError where there are none, or a camera's first cannot be read."""
    numbered: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in visible_images(root):
        if match := IMAGE_NAME.fullmatch(path.stem):
            numbered[_numbered_camera(match[2])].append((int(match[1]), path))
    if not numbered:
        raise no_frames(root, [PATTERN], "Technicolor")
    return {name: probe_images(keyed_images(numbered[name])) for name in sorted(numbered)}


def _numbered_camera(digits: str) -> str:
    return f"cam{int(digits):02d}"


def _model_camera(name: str) -> str:
    """The camera of a model's image, which may be called as a frame of that camera."""
    match = IMAGE_NAME.fullmatch(name)
    return _numbered_camera(match[2]) if match else name


def _lost_upstream(cameras: Mapping[str, Camera]) -> list[str]:
    lost = [
        name for name, camera in cameras.items() if camera.cy * 2 == camera.height and camera.cx * 2 != camera.width
    ]
    if not lost:
        return []
    return [
        f"horizontal principal points kept, which Ex4DGS drops where the vertical one is centred: {', '.join(lost)}"
    ]
