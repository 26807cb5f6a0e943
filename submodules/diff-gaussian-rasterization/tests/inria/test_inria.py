"""The original rasterizer's interface: recorded images and gradients, and what code written for it relies on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moegs_rasterizer import RasterizerError, rasterize
from moegs_rasterizer.inria import GaussianRasterizer, rasterize_gaussians
from moegs_rasterizer.inria.rasterizer import CONVENTION

from ..backends import BACKENDS, CUDA, on, one_thread, require
from ..golden.golden_files import KINDS, read_golden
from ..golden.original_gradients import TOLERANCE, distance, leaves, with_leaves
from ..scenes import camera_of, small_layer
from .inria_calls import arguments_of, call, inria_gradients, settings_of

pytestmark = pytest.mark.usefixtures(one_thread.__name__)

NAMES = [f"inria_{kind}" for kind in KINDS]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [*NAMES, "ch3_plain", "ch3_offcenter"])
def test_images_and_radii_are_the_originals(shared, name, backend):
    golden = read_golden(shared("reference/raster"), name, torch.float32)
    made = call(golden.layer, golden.camera, backend)

    error = (made.colour - golden.tensor("out_color")).abs().amax(0)
    # Single pixels may flip at the stop rule (a Gaussian of weight up to 0.0099); seen: none, largest error 1.01e-5.
    assert (error <= 1e-5).float().mean() >= 0.999
    assert error.max() <= 0.01
    assert torch.equal(made.radii, golden.tensor("out_radii"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_originals_without_quirks(shared, references, name, backend):
    original, quirky, true = references(name)
    golden = read_golden(shared("reference/raster"), name, torch.float32)
    leaf = leaves(golden)
    computed = inria_gradients(call(with_leaves(golden, leaf), golden.camera, backend), leaf, golden.tensor("grad_out"))
    for tensor, expected in original.items():
        assert distance(computed[tensor], expected - quirky[tensor] + true[tensor]) <= TOLERANCE, tensor


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_loop_densifies_by_the_screen_space_gradient(backend):
    """The lines of 3DGS's training code that touch the rasterizer; more Gaussians count as the loop goes on."""
    camera = camera_of(40, 32)
    layer = on(require(backend), small_layer(60, dtype=torch.float32, sh=16))
    filmed = replace(small_layer(60, seed=5, dtype=torch.float32, sh=16), background=layer.background)
    target = call(filmed, camera, backend).colour.detach()
    given = {name: tensor.clone() for name, tensor in arguments_of(layer.gaussians).items() if tensor is not None}
    trained = [given[name].requires_grad_() for name in ("means3D", "shs", "opacities", "scales", "rotations")]
    optimiser = torch.optim.Adam(trained[:2], lr=0.03)
    accumulated, seen = torch.zeros(60, 1), torch.zeros(60, 1)
    losses = []
    for _ in range(8):
        screenspace_points = torch.zeros_like(given["means3D"], requires_grad=True) + 0
        screenspace_points.retain_grad()
        rasterizer = GaussianRasterizer(raster_settings=settings_of(camera, layer.background), backend=backend)
        image, radii = rasterizer(**(given | {"means2D": screenspace_points}))
        loss = (image.cpu() - target).abs().mean()
        loss.backward()
        visible = (radii > 0).cpu()
        accumulated[visible] += screenspace_points.grad.cpu()[visible, :2].norm(dim=-1, keepdim=True)
        seen[visible] += 1
        assert not screenspace_points.grad.cpu()[~visible].any()
        assert not screenspace_points.grad[:, 2].any()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]  # seen: 0.49
    assert 0 < (accumulated / seen.clamp_min(1) > 0.0002).sum() < 60
    assert all(tensor.grad is not None for tensor in trained[2:])


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_recorded_where_nothing_asks(backend):
    camera, layer = camera_of(20, 18), on(require(backend), small_layer(20, dtype=torch.float32))
    rasterizer = GaussianRasterizer(settings_of(camera, layer.background), backend=backend)
    given = arguments_of(layer.gaussians)
    plain = rasterizer(**given)[0]
    given = {name: None if tensor is None else tensor.clone().requires_grad_() for name, tensor in given.items()}
    with torch.no_grad():
        silent = rasterizer(**given)[0]
    recorded, radii = rasterizer(**given)

    assert recorded.requires_grad
    assert not (plain.requires_grad or silent.requires_grad or radii.requires_grad)
    assert radii.dtype == torch.int32
    assert torch.equal(plain, silent)
    assert torch.equal(plain, recorded)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_kept_can_be_walked_twice_and_in_parts(backend):
    camera, layer = camera_of(24, 20), on(require(backend), small_layer(30, dtype=torch.float32))
    given = arguments_of(layer.gaussians)
    screen = torch.zeros_like(layer.gaussians.means, requires_grad=True)
    image = GaussianRasterizer(settings_of(camera, layer.background), backend=backend)(**(given | {"means2D": screen}))
    (once,) = torch.autograd.grad(image[0].sum(), [screen], retain_graph=True)
    (double,) = torch.autograd.grad(2 * image[0].sum(), [screen])

    assert once.any()
    assert distance(double, 2 * once) <= 1e-5  # CUDA adds in any order; the others give the same bits


def test_fewer_degrees_use_and_train_the_first_coefficients_only():
    camera, layer = camera_of(24, 20), small_layer(30, dtype=torch.float32, sh=16)
    stored = layer.gaussians.sh.clone().requires_grad_()
    made = call(replace(layer, gaussians=replace(layer.gaussians, sh=stored)), camera, "torch", sh_degree=1)
    made.colour.sum().backward()
    cut = replace(layer, gaussians=replace(layer.gaussians, sh=layer.gaussians.sh[:, :4]))

    assert torch.equal(made.colour, call(cut, camera, "torch", sh_degree=1).colour)
    assert stored.grad[:, :4].any()
    assert not stored.grad[:, 4:].any()


def test_the_scale_modifier_multiplies_scales():
    camera, layer = camera_of(24, 20), small_layer(30)
    larger = replace(layer, gaussians=replace(layer.gaussians, scales=layer.gaussians.scales * 1.5))

    assert torch.equal(call(layer, camera, "torch", scale_modifier=1.5).colour, call(larger, camera, "torch").colour)


def test_colours_of_any_number_of_channels():
    camera, layer = camera_of(24, 20), small_layer(30, channels=7)
    expected = rasterize([replace(layer, settings=CONVENTION)], camera, backend="torch")[0].colour

    assert (call(layer, camera, "torch", campos=torch.zeros(3)).colour - expected).abs().max() <= 1e-13  # seen: 1.7e-15


def test_the_function_takes_empty_tensors_for_what_is_not_given():
    camera, layer = camera_of(24, 20), small_layer(30, sh=4)
    given, settings = arguments_of(layer.gaussians), settings_of(camera, layer.background, sh_degree=1)
    empty = torch.tensor([])
    by_function = rasterize_gaussians(
        given["means3D"], given["means2D"], given["shs"], empty, given["opacities"],
        given["scales"], given["rotations"], empty, settings,
    )  # fmt: skip
    expected = GaussianRasterizer(settings)(**given)

    assert all(torch.equal(one, other) for one, other in zip(by_function, expected, strict=True))


def test_no_gaussians_give_the_background_and_gradients():
    layer = small_layer(0)
    made = call(layer, camera_of(20, 18), "torch")
    made.colour.sum().backward()

    assert torch.equal(made.colour[:, 3, 4], layer.background)
    assert made.screen.grad.shape == (0, 3)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_mark_visible_is_the_near_plane_alone(device):
    camera = camera_of(20, 18, turned=False)  # z of the camera is that of the world plus 4
    positions = torch.tensor([[0.0, 0, -3.9], [0, 0, -3.7], [90, 90, -3.7], [0, 0, -9], [0, 0, 90]], device=device)
    settings = settings_of(camera, torch.zeros(3, device=device))

    assert GaussianRasterizer(settings).markVisible(positions).tolist() == [False, True, True, False, True]


@pytest.mark.cuda
def test_debug_reports_refused_values_at_once():
    layer = on(require("cuda"), small_layer(20, dtype=torch.float32))
    given = arguments_of(layer.gaussians)
    rasterizer = GaussianRasterizer(settings_of(camera_of(20, 18), layer.background, debug=True))
    with pytest.raises(RasterizerError, match="scales"):
        rasterizer(**(given | {"scales": given["scales"] - 100}))


ROW_VECTORS = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 4, 1]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ({"colors_precomp": torch.zeros(5, 3)}, {}, "both of shs and colors_precomp"),
        ({"shs": None}, {}, "neither of shs and colors_precomp"),
        ({"scales": None}, {}, "found rotations; expected scales and rotations, or cov3D_precomp"),
        ({"scales": None, "rotations": None}, {}, "found none"),
        ({"cov3D_precomp": torch.zeros(5, 6)}, {}, "found scales and rotations and cov3D_precomp"),
        ({"shs": torch.zeros(5, 4, 3)}, {"sh_degree": 2}, r"shs has shape \[5, 4, 3\], expected \[n, 9 or more, 3\]"),
        ({}, {"sh_degree": 4}, "sh_degree is 4, expected 0 to 3"),
        ({"opacities": torch.zeros(5, 2)}, {}, r"opacities has shape \[5, 2\]"),
        ({"means2D": torch.zeros(5)}, {}, r"means2D has shape \[5\], expected \[5, 2 or more\]"),
        ({}, {"antialiasing": True}, "antialiasing is True"),
        ({}, {"viewmatrix": ROW_VECTORS.T}, r"viewmatrix .*: it is the transposed"),
        ({}, {"viewmatrix": ROW_VECTORS * torch.tensor([0, 1, 1, 1])}, "viewmatrix has no inverse"),
        ({}, {"viewmatrix": torch.eye(3)}, r"viewmatrix has shape \[3, 3\], expected 16 values"),
        ({}, {"projmatrix": ROW_VECTORS}, "projmatrix is not viewmatrix times"),
        ({}, {"tanfovx": 0.3}, "with tanfovx 0.3 and"),
        ({}, {"tanfovy": 0.0}, "tanfovx and tanfovy are"),
        ({}, {"campos": torch.tensor([0.0, 0, 4])}, "campos is .*, but viewmatrix puts the camera at"),
        ({}, {"image_width": 0}, "width is 0"),
        ({}, {"bg": torch.zeros(4, dtype=torch.float64)}, r"background has shape \[4\]"),
    ],
)
def test_what_cannot_be_rasterized_is_refused(arguments, settings, message):
    layer = small_layer(5, sh=16)
    given = arguments_of(layer.gaussians)
    given["means3D"].requires_grad_()
    rasterizer = GaussianRasterizer(settings_of(camera_of(20, 18, turned=False), layer.background, **settings))
    with pytest.raises(RasterizerError, match=message):
        rasterizer(**(given | arguments))
