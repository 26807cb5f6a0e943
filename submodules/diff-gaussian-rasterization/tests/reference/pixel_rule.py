"""One pixel and one Gaussian at a time, in plain Python and float64: the rule as it is written down."""

from __future__ import annotations

import math

import numpy as np
from moegs_rasterizer import Camera, Layer

from ..scenes import Output


def output_by_rule(layer: Layer, camera: Camera) -> Output:
    """Every output of a layer of `colours` (no sh): arrays as in Splat, means2d left out."""
    rows = [_project(layer, camera, row) for row in range(layer.gaussians.count)]
    radii = np.array([_radius(row, layer, camera) for row in rows], dtype=np.int32)
    order = sorted((row["z"], index) for index, row in enumerate(rows) if radii[index] > 0)
    values = layer.gaussians.colours.numpy()
    if layer.features is not None:
        values = np.concatenate([values, layer.features.numpy()], axis=1)
    image = np.zeros((values.shape[1], camera.height, camera.width))
    alpha, depth = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for y in range(camera.height):
        for x in range(camera.width):
            here = [(rows[index], values[index]) for _, index in order if _listed(rows[index], x, y, layer)]
            image[:, y, x], alpha[y, x], depth[y, x] = _pixel(here, x, y, layer)
    k = layer.gaussians.colour_channels
    return Output(colour=image[:k], features=image[k:], alpha=alpha, depth=depth, radii=radii)


def _project(layer: Layer, camera: Camera, row: int) -> dict:
    given, settings = layer.gaussians, layer.settings
    matrix = camera.world_to_camera.double().numpy()
    x, y, z = matrix[:3, :3] @ given.means[row].numpy() + matrix[:3, 3]
    if z <= settings.near or (settings.far is not None and z > settings.far):
        return {"z": z, "culled": True}
    u = camera.fx * x / (z + 1e-7) + (camera.cx - camera.width / 2) * z / (z + 1e-7) + camera.width / 2 - 0.5
    v = camera.fy * y / (z + 1e-7) + (camera.cy - camera.height / 2) * z / (z + 1e-7) + camera.height / 2 - 0.5
    ndc = max(abs((2 * u + 1) / camera.width - 1), abs((2 * v + 1) / camera.height - 1))
    w, i, j, k = given.quats[row].numpy()
    rotation = np.array(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - w * k), 2 * (i * k + w * j)],
            [2 * (i * j + w * k), 1 - 2 * (i * i + k * k), 2 * (j * k - w * i)],
            [2 * (i * k - w * j), 2 * (j * k + w * i), 1 - 2 * (i * i + j * j)],
        ]
    )
    world = rotation @ np.diag(given.scales[row].numpy() ** 2) @ rotation.T
    limit_x, limit_y = 1.3 * camera.width / (2 * camera.fx), 1.3 * camera.height / (2 * camera.fy)
    tx, ty = min(max(x / z, -limit_x), limit_x) * z, min(max(y / z, -limit_y), limit_y) * z
    jacobian = np.array([[camera.fx / z, 0, -camera.fx * tx / z**2], [0, camera.fy / z, -camera.fy * ty / z**2]])
    flat = jacobian @ matrix[:3, :3] @ world @ matrix[:3, :3].T @ jacobian.T
    full = flat + settings.low_pass * np.eye(2)
    opacity = float(given.opacities[row])
    if settings.compensate:
        before, after = max(1e-6, np.linalg.det(flat)), max(1e-6, np.linalg.det(full))
        opacity *= 0.0 if min(before, after) <= 1e-6 else math.sqrt(before / (after + 1e-6) + 1e-6)
    culled = settings.ndc_limit is not None and ndc > settings.ndc_limit
    return {"z": z, "culled": culled, "u": u, "v": v, "covariance": full, "opacity": opacity}


def _radius(row: dict, layer: Layer, camera: Camera) -> int:
    if row["culled"]:
        return 0
    a, b, c = row["covariance"][0, 0], row["covariance"][0, 1], row["covariance"][1, 1]
    middle = (a + c) / 2
    radius = math.ceil(3 * math.sqrt(middle + math.sqrt(max(0.1, middle**2 - (a * c - b * b)))))
    row["radius"] = radius
    if layer.settings.tile_rule == "inria":
        tiles = [(x, y) for y in range(0, camera.height, 16) for x in range(0, camera.width, 16)]
        return radius if any(_listed(row, x, y, layer) for x, y in tiles) else 0
    if row["opacity"] < 1 / 255:
        return 0
    level = 2 * math.log(255 * row["opacity"])
    reach_x, reach_y = 1.001 * math.sqrt(level * a) + 0.001, 1.001 * math.sqrt(level * c) + 0.001
    columns = range(max(0, math.ceil(row["u"] - reach_x)), min(camera.width, math.floor(row["u"] + reach_x) + 1))
    lines = range(max(0, math.ceil(row["v"] - reach_y)), min(camera.height, math.floor(row["v"] + reach_y) + 1))
    return radius if columns and lines else 0


def _listed(row: dict, x: int, y: int, layer: Layer) -> bool:
    """True where the pixel's tile looks at the Gaussian; the exact rule has no tiles, alpha alone decides."""
    if layer.settings.tile_rule == "exact":
        return True
    tests = []
    for position, pixel in ((row["u"], x), (row["v"], y)):
        first = math.trunc((position - row["radius"]) / 16)
        last = math.trunc((position + row["radius"] + 15) / 16)
        tests.append(max(0, first) <= pixel // 16 < last)
    return all(tests)


def _pixel(rows: list, x: int, y: int, layer: Layer) -> tuple[np.ndarray, float, float]:
    settings = layer.settings
    left, total, weight_sum, depth_sum, median = 1.0, 0.0, 0.0, 0.0, 15.0
    for row, value in rows:
        offset = np.array([row["u"] - x, row["v"] - y])
        power = -0.5 * offset @ np.linalg.inv(row["covariance"]) @ offset
        if power > 0:
            continue
        alpha = min(0.99, row["opacity"] * math.exp(power))
        if alpha < 1 / 255:
            continue
        after = left * (1 - alpha)
        if after < 1e-4:
            break
        total = total + value * alpha * left
        weight_sum += alpha * left
        depth_sum += row["z"] * alpha * left
        if left > 0.5 and after < 0.5:
            median = row["z"]
        left = after
    mean = depth_sum / weight_sum if weight_sum > 0 else (settings.far or 0.0)
    depth = {"sum": depth_sum, "mean": mean, "median": median}[settings.depth]
    return total + left * layer.background.numpy(), 1 - left, depth
