"""Whatever IMAGE comes in, the analyzer sees the same picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.images import each_picture, to_images, to_pictures

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
IMAGE = torch.from_numpy(RGB).float()[None] / 255


def test_every_byte_survives_and_red_becomes_the_last_channel() -> None:
    (picture,) = to_pictures(IMAGE)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    np.testing.assert_array_equal(picture, RGB[..., ::-1])
    assert torch.equal(to_images([picture]), IMAGE)


def test_rgba_grey_and_half_precision_are_taken() -> None:
    opaque = torch.cat([IMAGE, torch.ones(1, 5, 7, 1)], dim=-1)
    np.testing.assert_array_equal(to_pictures(opaque)[0], RGB[..., ::-1])
    clear = torch.cat([IMAGE, torch.zeros(1, 5, 7, 1)], dim=-1)
    assert (to_pictures(clear)[0] == 128).all()
    grey = to_pictures(IMAGE[..., :1])[0]
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, axis=-1))
    np.testing.assert_array_equal(to_pictures(IMAGE.half())[0], RGB[..., ::-1])
    np.testing.assert_array_equal(to_pictures(torch.from_numpy(RGB))[0], RGB[..., ::-1])


def test_values_out_of_range_are_clamped_and_nan_is_black() -> None:
    image = torch.tensor([-0.5, 1.7, float("nan")]).expand(1, 2, 2, 3)
    np.testing.assert_array_equal(to_pictures(image)[0][0, 0], [0, 255, 0])


def test_strided_pictures_and_batches_are_taken() -> None:
    batch = torch.cat([IMAGE, IMAGE.flip(1)]).permute(0, 2, 1, 3)
    assert not batch.is_contiguous()
    first, second = to_pictures(batch)
    np.testing.assert_array_equal(first, RGB.transpose(1, 0, 2)[..., ::-1])
    np.testing.assert_array_equal(second, RGB[::-1].transpose(1, 0, 2)[..., ::-1])


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (1, 32, 32, 3), (1, 4096, 4096, 3)])
def test_every_size_is_taken(shape: tuple[int, ...]) -> None:
    assert to_pictures(torch.full(shape, 0.5))[0].shape == shape[1:]


def test_a_picture_of_0_to_255_is_refused() -> None:
    with pytest.raises(WrongInputError, match=r"holds values up to 255; an IMAGE holds 0 to 1\."):
        to_pictures(torch.full((1, 4, 4, 3), 255.0))


@pytest.mark.parametrize("shape", [(1, 4, 4, 2), (4, 4), (0, 4, 4, 3)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongInputError, match="wanted an IMAGE of batch x height"):
        to_pictures(torch.zeros(shape))


def test_pictures_of_several_sizes_make_no_batch() -> None:
    with pytest.raises(WrongInputError, match="One batch takes pictures of one size; found"):
        to_images([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
def test_pictures_one_by_one_are_those_of_the_whole_batch(
    channels: int, dtype: torch.dtype
) -> None:
    """Each is an array of its own, and what was lent is not written into."""
    images = torch.rand(3, 5, 7, channels, generator=torch.Generator().manual_seed(1)) * 1.1
    images[1, 2, 3] = float("nan")
    if dtype is torch.uint8:
        images = torch.nan_to_num(images).clamp(0, 1) * 255
    images = images.to(dtype)
    before = images.clone()
    found = list(each_picture(images))
    for one, other in zip(found, to_pictures(images), strict=True):
        assert np.array_equal(one, other) and one.flags.c_contiguous
    assert torch.equal(images.nan_to_num(), before.nan_to_num())
