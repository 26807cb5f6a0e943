"""Ex4DGS and STG against what their own loaders and renderers gave, from checkpoints of their own trainers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, Layer, Splat, camera_rays, cpu, rasterize

from experts import Expert, LoadOptions
from experts.ex4dgs.files import load_ex4dgs, save_ex4dgs
from experts.stg.files import load_stg, save_stg

SCENES = {"basketball": ("0to74", 0.692), "kitchen_tiny": ("0to149", 1.13)}
CASES = [(scene, expert) for scene in SCENES for expert in ("ex4dgs", "stg", "stg_full", "stg_lite")]
INNER = ("means3D", "scales", "rotations", "opacities", "shs", "colors_precomp")
ORACLE_PIXELS = 160 * 120  # the PyTorch back-end takes minutes on more, so without a compiler only these are compared


@functools.cache
def load(root: Path, scene: str, expert: str, variant: str = "") -> Expert:
    span, near = SCENES[scene]
    options = LoadOptions(scene=scene, near=near)
    if expert == "ex4dgs":
        folder = root / "Ex4DGS" / scene
        return load_ex4dgs(folder / "chkpnt6000.pth" if variant == "chkpnt" else folder, options)
    if expert == "stg":
        return load_stg(root / "STG" / scene, options)
    return load_stg(root / "STG_original" / f"{scene}_{expert[4:]}_{span}", options)


def camera_of(stored, name: str) -> Camera:
    intrinsics, (width, height) = stored[f"cam_K_{name}"], stored[f"cam_size_{name}"].tolist()
    pose = torch.from_numpy(stored[f"cam_w2c_{name}"])
    fx, fy, cx, cy = (float(intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Camera(world_to_camera=pose, fx=fx, fy=fy, cx=cx, cy=cy, width=width, height=height)


def stored_of(shared, scene: str, expert: str):
    return np.load(shared("reference/experts") / "renders" / scene / f"{expert}.npz")


def images(stored) -> Iterator[tuple[str, str, int, torch.Tensor]]:
    """Variant, camera, frame and image of everything stored."""
    for key in stored.files:
        if key.startswith("img_"):
            _, variant, camera, frame = key.split("_")
            yield variant, camera, int(frame), torch.from_numpy(stored[key])


def splat_of(expert: Expert, camera: Camera, frame: int, rule: str) -> Splat:
    settings = replace(expert.settings, tile_rule=rule)
    layer = Layer(gaussians=expert.at(frame), settings=settings, background=torch.tensor(expert.background))
    return rasterize([layer], camera)[0]


@pytest.mark.parametrize(("scene", "expert"), CASES)
def test_deformed_parameters(shared, scene: str, expert: str) -> None:
    """Largest difference seen: 2.5e-6 relative (rotations of Ex4DGS)."""
    stored = stored_of(shared, scene, expert)
    index = torch.from_numpy(stored["idx"])
    compared = 0
    for key in (key for key in stored.files if key.startswith("g_") and "_means3D_" in key):
        _, variant, _, frame = key.split("_")
        with torch.no_grad():
            gaussians = load(shared("reference/experts"), scene, expert, variant).at(int(frame))
        values = (gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities[:, None])
        rows = index[:200] if (expert, variant) == ("stg", "clip0") else index  # the others belong to clip1
        for name, value in zip(INNER, (*values, gaussians.sh, gaussians.colours), strict=True):
            if value is None:
                continue
            expected = torch.from_numpy(stored[f"g_{variant}_{name}_{frame}"])[: len(rows)]
            allowed = 1e-5 * (expected.abs() + 0.01 * expected.abs().mean())
            assert ((value[rows] - expected).abs() <= allowed).all(), (variant, name, frame)
            compared += 1
    assert compared >= 10


@pytest.mark.parametrize(("scene", "expert"), CASES)
def test_images(shared, scene: str, expert: str) -> None:
    """Lowest seen, dB: 93.6 with the original tiles (78.5 where the reference is float16), 69.1 with exact ones."""
    stored = stored_of(shared, scene, expert)
    compiled = cpu.unavailable_reason() is None
    references = list(images(stored))
    assert references
    for variant, name, frame, expected in references:
        camera = camera_of(stored, name)
        if not compiled and (camera.width * camera.height > ORACLE_PIXELS or expected.dtype == torch.float16):
            continue
        model = load(shared("reference/experts"), scene, expert, variant)
        for rule, least, worst in (
            ("inria", 78 if expected.dtype == torch.float16 else 92, 0.003),
            ("exact", 68, 0.07),
        ):
            with torch.no_grad():
                image = model.colour(splat_of(model, camera, frame, rule), camera, frame=frame)
            error = image - expected.float()
            psnr = -10 * error.square().mean().log10().item()
            assert psnr >= least and error.abs().max() < worst, (variant, name, frame, rule, psnr, error.abs().max())


@pytest.mark.parametrize("expert", ["ex4dgs", "stg", "stg_full", "stg_lite"])
def test_depth_coverage_and_radii(shared, expert: str) -> None:
    stored = stored_of(shared, "kitchen_tiny", expert)
    keys = [key for key in stored.files if key.startswith("radii_")]
    assert keys
    for key in keys:
        _, variant, frame = key.split("_")
        with torch.no_grad():
            model = load(shared("reference/experts"), "kitchen_tiny", expert, variant)
            splat = splat_of(model, camera_of(stored, "cam00"), int(frame), "inria")
        assert torch.equal(splat.radii, torch.from_numpy(stored[key].astype(np.int32)))
        depth = torch.from_numpy(stored[f"depth_{variant}_{frame}"])[0]
        assert ((splat.depth - depth).abs() > 2e-4).sum() <= 2  # the median jumps where T passes 1/2 within rounding
        if f"acc_{variant}_{frame}" in stored.files:
            coverage = torch.from_numpy(stored[f"acc_{variant}_{frame}"])[0]
            assert (splat.alpha - coverage).abs().max() < 1e-3


@pytest.mark.parametrize("scene", list(SCENES))
def test_rays_and_decoder_of_the_full_variant(shared, scene: str) -> None:
    stored = stored_of(shared, scene, "stg_full")
    camera = camera_of(stored, "cam00")
    rays = torch.from_numpy(stored["rays_cam00_step8"])
    assert (camera_rays(camera)[:, ::8, ::8] - rays).abs().max() < 2e-6
    model = load(shared("reference/experts"), scene, "stg_full")
    weights = model.state_dict()
    for name in ("mlp1.weight", "mlp2.weight"):
        assert np.array_equal(weights[f"segments.0.decoder.{name}"], stored[f"decoder_{name}"])


def test_nine_features_and_what_is_decoded_from_them(shared) -> None:
    stored = stored_of(shared, "kitchen_tiny", "stg_full")
    camera = camera_of(stored, "cam00")
    model = load(shared("reference/experts"), "kitchen_tiny", "stg_full")
    features = torch.from_numpy(stored["feature9_cam00_0"])
    with torch.no_grad():
        splat = splat_of(model, camera, 0, "inria")
        assert (splat.colour - features).abs().max() < 1e-3
        decoded = model.colour(replace(splat, colour=features), camera, frame=0)
    # 8e-5 seen: the original's first convolution ran in TF32; with inputs rounded to that, 1.3e-5 remain
    assert (decoded - torch.from_numpy(stored["img_clip0_cam00_0"])).abs().max() < 1e-4


def test_zero_quaternions_of_guided_sampling_are_there_and_finite(shared) -> None:
    model = load(shared("reference/experts"), "kitchen_tiny", "stg")
    gaussians = model.at(7)
    zero = gaussians.quats.abs().sum(1) == 0
    assert zero.sum() == 285
    assert all(value.isfinite().all() for value in (gaussians.means, gaussians.quats, gaussians.opacities))


@pytest.mark.parametrize(("scene", "expert"), CASES)
def test_saving_writes_the_genuine_files_again(shared, tmp_path: Path, scene: str, expert: str) -> None:
    model = load(shared("reference/experts"), scene, expert)
    target = tmp_path / scene
    save = save_ex4dgs if expert == "ex4dgs" else save_stg
    save(model, target, model.provenance.iteration)
    written = sorted(target.rglob("*.ply")) + sorted(target.rglob("*.pt"))
    genuine = {
        file.name if expert != "stg" else file.parents[2].name + file.name: file for file in model.provenance.files
    }
    assert len(written) == len(genuine)
    for file in written:
        source = genuine[file.name if expert != "stg" else file.parents[2].name + file.name]
        if file.suffix == ".ply":
            assert file.read_bytes() == source.read_bytes()
        else:
            first, second = torch.load(file), torch.load(source, map_location="cpu")
            assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
