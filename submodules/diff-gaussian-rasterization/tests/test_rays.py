"""A camera's ray map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from moegs_rasterizer import Camera, camera_rays

from .scenes import camera_of


def test_points_along_a_ray_project_onto_its_pixel_centre():
    camera = camera_of(13, 7, shift=(1.5, -0.75))
    rays = camera_rays(camera, dtype=torch.float64)
    assert rays.shape == (6, 7, 13)
    points = rays[:3] + 2.7 * rays[3:]
    matrix = camera.world_to_camera
    local = torch.einsum("ij,jhw->ihw", matrix[:3, :3], points) + matrix[:3, 3].reshape(3, 1, 1)
    y, x = torch.meshgrid(torch.arange(7) + 0.5, torch.arange(13) + 0.5, indexing="ij")
    torch.testing.assert_close(camera.fx * local[0] / local[2] + camera.cx, x.double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(camera.fy * local[1] / local[2] + camera.cy, y.double(), atol=1e-12, rtol=0)
    assert (local[2] > 0).all()


def test_rays_start_at_the_camera_and_have_length_one():
    camera = camera_of(5, 4)
    rays = camera_rays(camera)
    assert rays.dtype == torch.float32
    torch.testing.assert_close(rays[3:].norm(dim=0), torch.ones(4, 5))
    torch.testing.assert_close(rays[:3], camera.centre.float().reshape(3, 1, 1).expand(3, 4, 5))


@pytest.mark.cuda
def test_rays_of_a_camera_on_the_gpu_lie_there():
    camera = camera_of(13, 7, shift=(1.5, -0.75))
    there = replace(camera, world_to_camera=camera.world_to_camera.to("cuda"))
    rays = camera_rays(there)
    assert rays.device == there.world_to_camera.device
    torch.testing.assert_close(rays.cpu(), camera_rays(camera), atol=1e-6, rtol=0)


def test_rays_are_those_stg_was_trained_with(shared):
    with np.load(shared("reference/experts/renders/kitchen_tiny") / "stg_full.npz") as file:
        recorded = {key: file[key] for key in ("rays_cam00_step8", "cam_w2c_cam00", "cam_K_cam00", "cam_size_cam00")}
    k, (width, height) = recorded["cam_K_cam00"], recorded["cam_size_cam00"]
    camera = Camera(
        world_to_camera=torch.from_numpy(recorded["cam_w2c_cam00"]),
        fx=float(k[0, 0]),
        fy=float(k[1, 1]),
        cx=float(k[0, 2]),
        cy=float(k[1, 2]),
        width=int(width),
        height=int(height),
    )
    rays = camera_rays(camera)[:, ::8, ::8]
    torch.testing.assert_close(rays, torch.from_numpy(recorded["rays_cam00_step8"]), atol=2e-6, rtol=0)
