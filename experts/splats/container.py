"""`.4dgs` files of the package `fourdgs`: one file with splats on straight lines, with a window and a bell each.

Format: https://github.com/avala-ai/4dgs, temporal model gaussian-birth. Colours of degree 0 are held within 0 and 1
there, and higher coefficients within -4 and 4.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.disk.faults import reading
from common.disk.files import replacing
from common.text.wording import counted
from experts.base import CheckpointError, Provenance
from experts.canonical.gaussians import CanonicalGaussians
from experts.splats.facts import BACKGROUND, FRAMES, RASTER, OwnFacts, own_facts
from experts.splats.model import Splats
from experts.splats.sh_bytes import harmonic_bytes
from experts.splats.timing import Timing, timing_of

PACKAGE = "fourdgs"
INSTALL = f"{PACKAGE} is missing: run pip install -r requirements-export.txt -c constraints.txt"
SH_CONSTANT = 0.28209479177387814  # the spherical harmonic of degree 0
SH_LOW, SH_HIGH = -4.0, 4.0  # of the format's bytes
LEVEL = 6  # of zlib: 9 takes many times as long, for a few percent
CUTOFF = 1 / 255  # share of an opacity below which a splat is gone
FACTS = "moegs"  # key of the file's attributes that holds ours, as JSON
ROOM = "?" * 16_384  # in their place until they are known: no offset of the file changes then
FOREVER = 1e9  # frames: files of models hold finite numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The fineness of a file's values."""

    profile: str  # of fourdgs: fine, default or coarse
    sh_steps: tuple[int, int, int]  # between bytes that are used, of the coefficients of degree 1, 2 and 3


def write_4dgs(
    path: Path, splats: Splats, *, fps: float, grid: Grid, cameras: Sequence[Tensor], facts: Mapping[str, object]
) -> None:
    """Writes splats to a `.4dgs` file, never half of it.

    cameras: centres [3] of those that colours are to be right for. facts: told in the file, as JSON.

    Raises CheckpointError where the package is missing.
    """
    _require_package(path)
    write_coded(path, coded_4dgs(splats, fps=fps, grid=grid, cameras=cameras), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """The bytes of a `.4dgs` file with room for facts, which are known once the file was read again and measured."""

    data: bytes
    facts: Mapping[str, object]


def coded_4dgs(splats: Splats, *, fps: float, grid: Grid, cameras: Sequence[Tensor]) -> Coded:
    """The bytes of a `.4dgs` file; see `write_4dgs`. The package takes about a minute for a million splats."""
    import fourdgs

    options = fourdgs.WriteOptions(
        profile=grid.profile,
        cutoff=CUTOFF,
        level=LEVEL,
        sh_bit_depths=(8, 8, 8),  # bytes as they are
        library="MoE-GS",
        metadata={FACTS: ROOM},
    )
    file = io.BytesIO()
    try:
        fourdgs.write(file, _gaussian_set(splats, fps, grid, cameras), splats.num_frames / fps, options=options)
    except (ValueError, fourdgs.exceptions.InvalidInput) as error:
        raise CheckpointError(f"{PACKAGE} cannot hold these splats ({error}); write a page or PLY files") from error
    own = {"fps": fps, FRAMES: splats.num_frames, BACKGROUND: splats.background, RASTER: asdict(splats.settings)}
    return Coded(data=file.getvalue(), facts=own)


def write_coded(path: Path, coded: Coded, *, facts: Mapping[str, object]) -> None:
    """Writes a `.4dgs` file, never half of it. facts: told in the file, as JSON; ValueError if they are too long."""
    told = json.dumps({**facts, **coded.facts})  # ASCII, so that characters are bytes
    if len(told) > len(ROOM):
        raise ValueError(f"{path}: its facts take {len(told)} bytes, and there is room for {len(ROOM)}")
    with replacing(path) as temporary:
        temporary.write_bytes(coded.data.replace(ROOM.encode(), told.ljust(len(ROOM)).encode(), 1))


def read_4dgs(path: Path) -> Splats:
    """Splats from a `.4dgs` file by itself; see `read_timed`."""
    return read_timed(path)[0]


def read_timed(path: Path, *, num_frames: int | None = None, frame_rate: float | None = None) -> tuple[Splats, Timing]:
    """Splats from a `.4dgs` file, and how its time is counted in frames. num_frames, frame_rate: see `timing_of`.

    Raises CheckpointError where the package is missing, and for files that it cannot read.
    """
    _require_package(path)
    with reading(path, "not a readable .4dgs file", CheckpointError, advice="get the file again from its source"):
        import fourdgs

        scene = fourdgs.read(str(path), recover_truncated=False)
        if not scene.duration_sec > 0:
            raise ValueError(f"its duration is {scene.duration_sec:g} s")
        _check_finite(scene.gaussians)
        _check_tracks(scene)
        own = own_facts(scene.header.attributes.get(FACTS, "{}"))
        timing = timing_of(scene.duration_sec, own.frames, num_frames=num_frames, frame_rate=frame_rate)
        windows = _windows(scene, own) * timing.fps
        return _splats(path, scene.gaussians, windows=windows, timing=timing, own=own), timing


def _require_package(path: Path) -> None:
    if find_spec(PACKAGE) is None:
        raise CheckpointError(f"{path}: {INSTALL}")


def _check_finite(given: Any) -> None:
    """Raises ValueError for NaN and infinite values, as a damaged file can hold. Widths and windows may be infinite."""
    for name in ("positions", "scales", "rotations", "colors", "motions", "mu_t"):
        bad = int((~np.isfinite(getattr(given, name))).sum())
        if bad:
            raise ValueError(f"its {name} have {counted(bad, 'NaN or infinite value')}")


def _check_tracks(scene: Any) -> None:
    """Raises ValueError for a file whose objects move by tracks, which splats here do not have."""
    present = set(np.unique(scene.gaussians.object_id)) if scene.gaussians.object_id is not None else set()
    moving = [track for track in scene.objects.tracks if track.sample_count and track.object_id in present]
    if moving:
        raise ValueError(
            f"it moves {counted(len(moving), 'object')} by tracks, which are not read: write the motion into the splats"
        )


def _windows(scene: Any, own: OwnFacts) -> np.ndarray:
    """Seconds between which each splat is there: its window, and while it is no fainter than the file's cutoff.

    Another program's windows that end with the file hold to the end of the clip: its seconds may last until the moment
    of the last frame, which such a window would leave empty.
    """
    given = scene.gaussians
    first, end = (np.asarray(each, np.float64) for each in (given.win_lo, given.win_hi))
    if own.frames is None:
        end = np.where(end >= scene.duration_sec * (1 - 1e-6), np.inf, end)
    if scene.header.cutoff > CUTOFF:  # fainter ones of ours are below what the rasterizer blends
        reach = np.sqrt(-2 * np.log(scene.header.cutoff)) * np.asarray(given.sigma_t, np.float64)
        middle = np.asarray(given.mu_t, np.float64)
        first, end = np.maximum(first, middle - reach), np.minimum(end, np.nextafter(middle + reach, np.inf))
    return np.stack([first, end], axis=1)


def _gaussian_set(splats: Splats, fps: float, grid: Grid, cameras: Sequence[Tensor]) -> Any:
    import fourdgs

    given = splats.gaussians
    sh = torch.cat([given.sh_dc, given.sh_rest], dim=1).detach()
    coded = harmonic_bytes(sh, given.means.detach(), cameras=cameras, steps=grid.sh_steps)
    colours = torch.cat([coded.dc * SH_CONSTANT + 0.5, given.opacity_logits.sigmoid()[:, None]], dim=1)
    windows = _numpy(splats.windows).astype(np.float64) / fps
    return fourdgs.GaussianSet(
        positions=_numpy(given.means),
        scales=_numpy(given.log_scales.exp()),
        rotations=_numpy(given.quats[:, [1, 2, 3, 0]]),
        colors=_numpy(colours.clamp(0, 1)),
        motions=_numpy(splats.velocities * fps),
        mu_t=_numpy(splats.times / fps),
        sigma_t=_numpy(splats.widths / fps),
        win_lo=windows[:, 0],
        win_hi=windows[:, 1],
        sh=_numpy(coded.codes) if coded.degree else None,
        sh_degree=coded.degree,
    )


def _splats(path: Path, given: Any, *, windows: np.ndarray, timing: Timing, own: OwnFacts) -> Splats:
    """The splats of a file's values. windows: [n, 2] frames."""
    fps = timing.fps
    colours = torch.from_numpy(np.asarray(given.colors, np.float32))
    rest = torch.zeros(given.count, 15, 3)
    if given.sh is not None:
        coefficients = given.sh.shape[1] // 3
        values = given.sh.astype(np.float32) * ((SH_HIGH - SH_LOW) / 255) + SH_LOW
        rest[:, :coefficients] = torch.from_numpy(values).unflatten(1, (3, coefficients)).transpose(1, 2)
    widths = torch.from_numpy(np.asarray(given.sigma_t, np.float32)) * fps
    return Splats(
        gaussians=CanonicalGaussians(
            means=_float(given.positions),
            log_scales=_float(given.scales).clamp(min=1e-12).log(),
            quats=_float(given.rotations)[:, [3, 0, 1, 2]].contiguous(),
            opacity_logits=colours[:, 3].clamp(1e-6, 1 - 1e-6).logit(),
            sh_dc=((colours[:, None, :3] - 0.5) / SH_CONSTANT).contiguous(),
            sh_rest=rest,
        ),
        times=_float(given.mu_t) * fps,
        widths=widths,
        velocities=_float(given.motions) / fps,
        windows=torch.from_numpy(windows.clip(-FOREVER, FOREVER).astype(np.float32)),
        num_frames=timing.frames,
        first_frame=own.first_frame,
        settings=own.settings,
        background=own.background,
        provenance=Provenance(files=(path,), iteration=0),
    )


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))
