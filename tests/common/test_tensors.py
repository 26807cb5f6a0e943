from __future__ import annotations

import numpy as np
import torch

from common.maths.tensors import (
    all_to_uint8,
    from_uint8,
    image_from_uint8,
    quantised,
    rounded_to_uint8,
    tensors_hash,
    to_uint8,
)


def test_images_are_clamped_and_rounded():
    image = torch.tensor([-1.0, 0.0, 0.4999, 0.5, 2.0]).reshape(1, 1, 5).repeat(3, 2, 1)
    image[1] = 0.2
    pixels = to_uint8(image)
    assert pixels.shape == (2, 5, 3) and pixels.flags.c_contiguous
    assert pixels[0, :, 0].tolist() == [0, 0, 127, 128, 255]
    assert to_uint8(torch.full((2, 5), 0.7)).tolist() == [[178] * 5] * 2  # 178.5 rounds to even


def test_several_images_are_converted_as_each_alone():
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(shape, generator=generator) * 1.4 - 0.2 for shape in ((3, 4, 5), (4, 5), (3, 2, 7))]
    for image, pixels in zip(images, all_to_uint8(images), strict=True):
        assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
        assert np.array_equal(pixels, to_uint8(image))


def test_8_bit_values_there_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(from_uint8(values), values.float() / 255)
    assert torch.equal(quantised(from_uint8(values)), values)
    assert values[-1] == 255  # the argument stays as it was


def test_values_as_8_bits_keep_them():
    values = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    assert torch.equal(rounded_to_uint8(values), from_uint8(quantised(values)))
    assert rounded_to_uint8(torch.tensor([float("nan"), 0.5])).isnan().tolist() == [True, False]


def test_images_lie_in_memory_as_asked():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8))
    image, as_read = image_from_uint8(pixels), image_from_uint8(pixels, contiguous=False)
    assert image.is_contiguous() and as_read.permute(1, 2, 0).is_contiguous()
    assert torch.equal(image, as_read) and image[2, 3, 4] == pixels[3, 4, 2] / 255
    assert np.array_equal(to_uint8(image), pixels.numpy())


def test_hashes_follow_names_shapes_and_values():
    tensors = {"w": torch.ones(2, 3), "v": torch.zeros(2)}
    assert tensors_hash(tensors) == tensors_hash(dict(reversed(tensors.items())))
    assert tensors_hash(tensors) != tensors_hash({"w": torch.ones(3, 2), "v": torch.zeros(2)})
    assert tensors_hash(tensors) != tensors_hash({"w": torch.ones(2, 3), "v": torch.ones(2)})
