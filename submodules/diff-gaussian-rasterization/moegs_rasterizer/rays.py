"""Rays of a camera's pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from .types import Camera


def camera_rays(camera: Camera, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """Ray of every pixel as [origin, unit direction] in world space (STG's ray map; MoE-GS eq. 7's r(u)).

    Returns [6, h, w], world units, through pixel centres; computed in float64, returned as dtype, on `device` (None:
    where the camera's matrix is). Nobody waits for a GPU where the matrix is on the CPU.
    """
    camera_to_world = torch.linalg.inv(camera.world_to_camera.double())
    if device is not None:
        camera_to_world = camera_to_world.to(device, non_blocking=True)
    x = (torch.arange(camera.width, dtype=torch.float64, device=camera_to_world.device) + 0.5 - camera.cx) / camera.fx
    y = (torch.arange(camera.height, dtype=torch.float64, device=camera_to_world.device) + 0.5 - camera.cy) / camera.fy
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    local = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)])
    directions = torch.einsum("ij,jhw->ihw", camera_to_world[:3, :3], local)
    directions = directions / directions.norm(dim=0, keepdim=True)
    origins = camera_to_world[:3, 3].reshape(3, 1, 1).expand_as(directions)
    return torch.cat([origins, directions]).to(dtype)
