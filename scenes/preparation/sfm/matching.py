"""Features of images and the matches between all pairs of them, by pycolmap."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.signals import kept_handlers
from common.text.progress import Progress
from scenes.types import SceneError

SEED = 0
ALL_CORES = -1  # as pycolmap says it
PAIR_BATCHES = 10  # between updates of the progress; each indexes its images anew
FEWEST_PAIRS = 25  # in a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class SfmOptions:
    """Options of finding features, matches and points.

    The defaults are those of Ex4DGS's preparation (COLMAP's, with the two thresholds changed).
    """

    max_image_size: int = 4096  # px; larger images are shrunk for finding features; 0: never
    max_features: int = 8192  # an image
    peak_threshold: float = 0.004  # of SIFT; lower finds fainter features
    edge_threshold: float = 30.0  # of SIFT; higher keeps more features that lie on edges
    affine_shape: bool = False  # features adapted to slanted surfaces; slow, never on a GPU
    domain_size_pooling: bool = False  # descriptors pooled over sizes; slow, never on a GPU
    guided_matching: bool = False  # matches once more along the epipolar lines that the first matches gave
    verify_by_cameras: bool = False  # with known cameras: they decide which matches hold, not the matches alone
    two_view_points: bool = False  # keep points that only two cameras see: twice as many, less exact
    threads: int | None = None  # None: all cores
    accept_poor: bool = False  # go on with a result that is too poor
    progress: bool = True


def escalated(options: SfmOptions) -> SfmOptions:
    """Give settings that find more in images of little texture, at two to three times the time."""
    return replace(
        options,
        max_features=2 * options.max_features,
        peak_threshold=options.peak_threshold / 2,
        domain_size_pooling=True,
        verify_by_cameras=True,
        two_view_points=True,
    )


def described_options(options: SfmOptions) -> str:
    """Describe in one phrase the settings that decide what is found."""
    flags = {
        "affine shape": options.affine_shape,
        "domain-size pooling": options.domain_size_pooling,
        "guided matching": options.guided_matching,
        "verified by the known cameras": options.verify_by_cameras,
        "two-view points": options.two_view_points,
    }
    numbers = f"{options.max_features} features, peak {options.peak_threshold:g}, edge {options.edge_threshold:g}"
    return ", ".join([numbers, *(name for name, is_on in flags.items() if is_on)])


def pycolmap_module() -> Any:
    """Import pycolmap, its log cut to errors; SceneError where it is not installed."""
    try:
        with kept_handlers():
            pycolmap = importlib.import_module("pycolmap")
    except ImportError as error:
        raise SceneError(
            f"finding cameras and points needs pycolmap ({error}); pip install pycolmap, or run scripts/env_setup.sh"
        ) from error
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    return pycolmap


def device_for(pycolmap: Any) -> Any:
    """Choose COLMAP's device: a GPU where its CUDA wheel finds one; left to itself, that wheel fails without one."""
    gpu = pycolmap.has_cuda and pycolmap.get_num_cuda_devices() > 0
    return pycolmap.Device.cuda if gpu else pycolmap.Device.cpu


@contextmanager
def colmap_errors(doing: str) -> Iterator[None]:
    """Turn pycolmap's errors into a SceneError that says what was being done."""
    try:
        yield
    except SceneError:
        raise
    except (RuntimeError, ValueError, LookupError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise SceneError(f"{doing}: COLMAP gave up ({reason}); check the images and cameras it was given") from error


def match_all(database: Path, folder: Path, names: Sequence[str], options: SfmOptions) -> None:
    """Find SIFT features of every image and verified matches of all pairs, into a database that knows the images.

    On a GPU where pycolmap has CUDA and finds one (but for affine shape and domain-size pooling). On the CPU the
    result is the same run after run and for any number of threads: every RANSAC begins from a fixed seed.
    """
    _extract(database, folder, names, options)
    _match(database, names, options)


def _extract(database: Path, folder: Path, names: Sequence[str], options: SfmOptions) -> None:
    pycolmap = pycolmap_module()
    settings = pycolmap.FeatureExtractionOptions()
    settings.num_threads = options.threads or ALL_CORES
    settings.max_image_size = options.max_image_size or -1
    settings.sift.max_num_features = options.max_features
    settings.sift.peak_threshold = options.peak_threshold
    settings.sift.edge_threshold = options.edge_threshold
    settings.sift.estimate_affine_shape = options.affine_shape
    settings.sift.domain_size_pooling = options.domain_size_pooling
    batch = options.threads or 4
    with Progress("Finding features", total=len(names), unit="image", shown=options.progress, leave=False) as progress:
        for start in range(0, len(names), batch):
            some = list(names[start : start + batch])
            pycolmap.extract_features(database, folder, some, extraction_options=settings, device=device_for(pycolmap))
            progress.advance(len(some))


def _match(database: Path, names: Sequence[str], options: SfmOptions) -> None:
    pycolmap = pycolmap_module()
    settings, verification = pycolmap.FeatureMatchingOptions(), pycolmap.TwoViewGeometryOptions()
    settings.num_threads = options.threads or ALL_CORES
    settings.guided_matching = options.guided_matching
    verification.ransac.random_seed = SEED
    pairs = list(itertools.combinations(names, 2))
    batch = max(FEWEST_PAIRS, -(-len(pairs) // PAIR_BATCHES))
    table = database.with_suffix(".pairs")
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = table
    with Progress("Matching images", total=len(pairs), unit="pair", shown=options.progress, leave=False) as progress:
        for start in range(0, len(pairs), batch):
            some = pairs[start : start + batch]
            table.write_text("".join(f"{a} {b}\n" for a, b in some), encoding="utf-8")
            pycolmap.match_image_pairs(
                database,
                matching_options=settings,
                pairing_options=pairing,
                verification_options=verification,
                device=device_for(pycolmap),
            )
            progress.advance(len(some))
