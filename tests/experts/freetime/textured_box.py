"""A textured box that moves before a slanted, textured wall: images without a rasterizer, with known depths."""

from __future__ import annotations

from functools import cache

import torch
from moegs_rasterizer import Camera

from experts.training.samplers import Sample
from experts.training.start import StartPoints, TrainingStart

WIDTH, HEIGHT = 112, 84
BOX = torch.tensor([0.1, -0.1, 2.6])  # middle of its front
HALF = torch.tensor([0.5, 0.4])  # of its sides
SLANT = 0.4
SHIFTS = (-0.3, 0.0, 0.3)  # of the cameras of a rig


def camera(shift: float) -> Camera:
    """Looks at the box from a place on a line; +-0.3 turn it by about 7 degrees."""
    angle = torch.tensor(SLANT * shift)
    pose = torch.eye(4)
    pose[0, 0] = pose[2, 2] = angle.cos()
    pose[0, 2], pose[2, 0] = angle.sin(), -angle.sin()
    pose[:3, 3] = -pose[:3, :3] @ torch.tensor([shift, 0.1 * shift, 0.0])
    return Camera(world_to_camera=pose, fx=110, fy=105, cx=58, cy=40, width=WIDTH, height=HEIGHT)


def texture(x: torch.Tensor, y: torch.Tensor, seed: int) -> torch.Tensor:
    """Colours [3, ...] of a surface: waves of about 5 to 20 px in an image."""
    waves = torch.Generator().manual_seed(seed)
    total = torch.zeros(3, *x.shape)
    for _ in range(24):
        angle, phase, size = (6.3 * torch.rand((), generator=waves) for _ in range(3))
        frequency, colour = 12 + 4 * size, torch.randn(3, generator=waves).view(3, *(1,) * x.dim())
        total += colour * torch.sin(frequency * (angle.cos() * x + angle.sin() * y) + phase)
    return (0.5 + 0.06 * total).clamp(0, 1)


def wall_texture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return texture(x, y, 1)


def box_texture(positions: torch.Tensor, middle: torch.Tensor = BOX) -> torch.Tensor:
    """Colours [3, ...] of the box's front at positions [..., 3]; they move with it."""
    return texture(positions[..., 0] - middle[0], positions[..., 1] - middle[1], 2)


def wall_depth(x: torch.Tensor) -> torch.Tensor:
    return 4.5 + SLANT * x


def picture(
    seen_from: Camera, *, middle: torch.Tensor = BOX, half: torch.Tensor = HALF, plain_wall: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image [3, h, w], and the mask [h, w] of the box in it."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    local = torch.stack([(columns - seen_from.cx) / seen_from.fx, (rows - seen_from.cy) / seen_from.fy], dim=-1)
    rays = torch.cat([local, torch.ones_like(rows)[..., None]], dim=-1) @ seen_from.world_to_camera[:3, :3]
    start = seen_from.centre
    to_wall = (wall_depth(start[0]) - start[2]) / (rays[..., 2] - SLANT * rays[..., 0])
    on_box = start + rays * ((middle[2] - start[2]) / rays[..., 2])[..., None]
    on_wall = start + rays * to_wall[..., None]
    box = ((on_box - middle)[..., :2].abs() < half).all(-1)
    wall = torch.full((3, 1, 1), 0.4) if plain_wall else wall_texture(on_wall[..., 0], on_wall[..., 1])
    return torch.where(box, box_texture(on_box, middle), wall), box


NUM_FRAMES = 11
SMALL = torch.tensor([0.24, 0.3])  # half the sides of the box of the clip
STEP = torch.tensor([0.11, 0.01, 0.0])  # per frame: no place is covered for half of the clip


def box_at(frame: float) -> torch.Tensor:
    return BOX + STEP * (frame - 0.5 * (NUM_FRAMES - 1))


@cache
def clip_images() -> list[list[torch.Tensor]]:
    """By camera and frame."""
    return [
        [picture(camera(shift), middle=box_at(frame), half=SMALL)[0] for frame in range(NUM_FRAMES)] for shift in SHIFTS
    ]


class BoxViews:
    """Eleven frames of a rig's cameras, as training sees them; `moving`: False shows the first frame all the time."""

    def __init__(self, *, moving: bool = True, num_frames: int = NUM_FRAMES, cameras: int = len(SHIFTS)) -> None:
        self.cameras, self.numbers = [camera(shift) for shift in SHIFTS[:cameras]], list(range(cameras))
        self.num_frames = num_frames
        self._moving = moving
        self.read: list[Sample] = []

    def announce(self, samples) -> None:
        pass

    def image(self, sample: Sample) -> torch.Tensor:
        self.read.append(sample)
        return clip_images()[sample.view][sample.frame if self._moving else 0]


def wall_points(count: int = 300) -> StartPoints:
    generator = torch.Generator().manual_seed(0)
    x, y = 4 * torch.rand(count, generator=generator) - 2, 3 * torch.rand(count, generator=generator) - 1.5
    return StartPoints(positions=torch.stack([x, y, wall_depth(x)], 1), colours=wall_texture(x, y).T)


def clouds(frames: range = range(NUM_FRAMES), *, of_box: int = 200) -> StartPoints:
    """Points of the box, the same ones at each of several frames, and of the wall what two cameras see."""
    wall, generator = wall_points(), torch.Generator().manual_seed(1)
    offsets = SMALL * (2 * torch.rand(of_box, 2, generator=generator) - 1)
    offsets = torch.cat([offsets, torch.zeros(of_box, 1)], dim=1)
    colours = box_texture(box_at(0) + offsets, box_at(0)).T
    parts = []
    for frame in frames:
        seen = sum((~_hidden(wall.positions, shift, box_at(frame))).int() for shift in SHIFTS) >= 2
        positions = torch.cat([wall.positions[seen], box_at(frame) + offsets])
        moment = torch.full((len(positions),), float(frame))
        parts.append((positions, torch.cat([wall.colours[seen], colours]), moment))
    positions, colours, moments = (torch.cat(part) for part in zip(*parts, strict=True))
    return StartPoints(positions=positions, colours=colours, frames=moments)


def _hidden(positions: torch.Tensor, shift: float, middle: torch.Tensor) -> torch.Tensor:
    """Mask [n] of positions behind the box for the camera of a shift."""
    centre = camera(shift).centre
    crossing = centre + (positions - centre) * ((middle[2] - centre[2]) / (positions[:, 2:] - centre[2]))
    return ((crossing - middle)[:, :2].abs() < SMALL).all(1)


def box_start(points: StartPoints | None = None, views: BoxViews | None = None) -> TrainingStart:
    return TrainingStart(points=points or wall_points(), views=views or BoxViews(), extent=1.0, seed=3)
