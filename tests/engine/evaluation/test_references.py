"""PSNR, SSIM and MS-SSIM against the packages scikit-image and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.functional.image import peak_signal_noise_ratio as torchmetrics_psnr

from engine.evaluation.measures.psnr import psnr
from engine.evaluation.measures.structure import MS_SSIM_WEIGHTS, ms_ssim, scikit_ssim, ssim
from tests.engine.evaluation.test_structure import compared, pair

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}


def noise(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(1).random((2, 3, height, width)))


@pytest.fixture(params=["noise", "smooth", "photographs"])
def images(request) -> tuple[np.ndarray, np.ndarray]:
    """Two images [3, h, w] in [0, 1]; photographs: LPIPS's examples."""
    if request.param == "photographs":
        folder = request.getfixturevalue("shared")("data/lpips")
        read = [np.array(Image.open(folder / f"ex_{name}.png").convert("RGB")) for name in ("ref", "p1")]
        return tuple(np.moveaxis(pixels, -1, 0) / 255 for pixels in read)
    return noise(45, 62) if request.param == "noise" else pair(45, 62)


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None]


def test_psnr(images):
    a, b = images
    ours = psnr(torch.from_numpy(a), torch.from_numpy(b))
    assert ours == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-9)
    assert ours == pytest.approx(float(torchmetrics_psnr(batch(a), batch(b), data_range=1.0)), abs=1e-4)  # float32


def torchmetrics_ssim(a: torch.Tensor, b: torch.Tensor, **chosen: bool) -> tuple[torch.Tensor, torch.Tensor]:
    return structural_similarity_index_measure(a, b, sigma=1.5, kernel_size=11, data_range=1.0, **chosen)


def test_ssim_of_3dgs(images):
    """With 5 zeros around the images, the pixels that lie 5 px inside have windows as ours."""
    ours = float(ssim(compared(*images)))
    a, b = (np.pad(image, ((0, 0), (5, 5), (5, 5))) for image in images)
    assert ours == pytest.approx(structural_similarity(a, b, channel_axis=0, **GAUSSIAN), abs=1e-9)
    _, whole = torchmetrics_ssim(batch(a), batch(b), return_full_image=True)
    assert ours == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=1e-5)


@pytest.mark.parametrize("data_range", [1, 2])
def test_ssim_of_scikit_image(images, data_range):
    expected = structural_similarity(*images, channel_axis=0, data_range=data_range)
    assert float(scikit_ssim(compared(*images), data_range)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("make", [noise, pair])
def test_ms_ssim(make):
    """torchmetrics' MS-SSIM has windows across the border at the coarsest scale: near ours; put together again: ours.

    Sides divide by 16, as torchmetrics halves odd ones differently.
    """
    a, b = (image[:1] for image in make(176, 192))
    ours = float(ms_ssim(compared(a, b)))
    near, equal = [], []
    for x, y in zip(a, b, strict=True):
        x, y = batch(x[None]), batch(y[None])
        near.append(multiscale_structural_similarity_index_measure(x, y, data_range=1.0, normalize="relu"))
        product = 1.0
        for scale, weight in enumerate(MS_SSIM_WEIGHTS):
            if scale == len(MS_SSIM_WEIGHTS) - 1:
                value = torchmetrics_ssim(x, y, return_full_image=True)[1][..., 5:-5, 5:-5].mean()
            else:
                value = torchmetrics_ssim(x, y, return_contrast_sensitivity=True)[1].mean()
            product *= max(0.0, float(value)) ** weight
            x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
        equal.append(product)
    assert ours == pytest.approx(np.mean(equal), abs=1e-6)
    assert ours == pytest.approx(np.mean(near), abs=2e-3)
