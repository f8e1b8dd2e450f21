"""ComfyUI's IMAGE tensors <-> BGR byte arrays: the only place where channels flip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import checks
from .errors import WrongInputError

Picture = NDArray[np.uint8]  # (H, W, 3), BGR, 0..255, contiguous

# Values a little above 1 come from sharpening or upscaling; 255 comes from a forgotten division.
LARGEST_VALUE = 16.0


class ChannelOrder(str, Enum):
    """In which order a recogniser is given a picture's channels.

    BGR is what insightface expects. RGB is for adapters that learned faces from pictures whose
    channels nobody had turned round.
    """

    BGR = "bgr"
    RGB = "rgb"


def in_order(picture: Picture, order: ChannelOrder) -> Picture:
    """Return a picture's bytes with the channels in an order; as it is where that is BGR."""
    return picture if order is ChannelOrder.BGR else np.ascontiguousarray(picture[..., ::-1])


def to_pictures(images: Tensor, *, truncated: bool = False) -> list[Picture]:
    """Return the pictures of an IMAGE batch as BGR bytes.

    images: (B, H, W, C) or (H, W, C) RGB, RGBA or grey (C 3, 4 or 1); float in 0..1 (clamped, NaN
    counts as 0) or uint8; any strides, any device. truncated: cut off what is behind the point, as
    the old pack does, instead of rounding.

    Raises WrongInputError for another shape, an empty batch, or floats that reach up to 255.
    """
    return [_to_picture(image, truncated) for image in image_batch(images)]


def each_picture(images: Tensor) -> Iterator[Picture]:
    """Hand out the pictures of an IMAGE batch one by one, as `to_pictures` makes them.

    For many frames: all are worked out in one place, as what is made and dropped for each would
    scatter over the memory.
    """
    batch = image_batch(images)
    work = torch.empty_like(batch[0], dtype=torch.float32)
    for image in batch:
        yield _to_picture(image, False, work)


def image_batch(images: Tensor) -> Tensor:
    """Return an IMAGE as (B, H, W, C), of one picture too. Raises WrongInputError for another."""
    images = checks.tensor(images, "The picture", "an IMAGE")
    batch = images.unsqueeze(0) if images.ndim == 3 else images
    if batch.ndim != 4 or batch.shape[-1] not in (1, 3, 4) or batch.numel() == 0:
        raise WrongInputError(
            f"The picture has the size {checks.size_of(images.shape)}; wanted an IMAGE of batch x "
            "height x width x channels, with 1, 3 or 4 channels. Connect an image output that "
            "shows a picture when it is previewed."
        )
    return batch


def _to_picture(image: Tensor, truncated: bool, work: Tensor | None = None) -> Picture:
    """work: of the size of the image, float32, written into; None: made for it."""
    unit = _to_unit(image, work)
    values = unit.mul_(255) if image.shape[-1] == 3 else _over_grey(unit).mul(255)  # (H, W, 3)
    whole = values.trunc_() if truncated else values.round_()
    pixels = whole.to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(pixels[..., ::-1])


def _to_unit(image: Tensor, work: Tensor | None = None) -> Tensor:
    """Return float32 in 0..1, in memory of its own; in `work` if there is one."""
    if image.dtype == torch.uint8:
        return image.float() / 255
    values = torch.nan_to_num(image.float(), nan=0.0, posinf=1.0, neginf=0.0, out=work)
    largest = values.max().item()
    if largest > LARGEST_VALUE:
        raise _not_to_one(largest)
    return values.clamp_(0, 1)


def _not_to_one(largest: float) -> WrongInputError:
    return WrongInputError(
        f"The picture holds values up to {largest:.0f}; an IMAGE holds 0 to 1. Divide it by "
        "255 before it comes here."
    )


def _over_grey(image: Tensor) -> Tensor:
    """Return (H, W, 3): grey repeated, alpha laid over middle grey."""
    if image.shape[-1] == 1:
        return image.expand(-1, -1, 3)
    if image.shape[-1] == 4:
        alpha = image[..., 3:]
        return image[..., :3] * alpha + 0.5 * (1 - alpha)
    return image


def to_images(pictures: Sequence[Picture]) -> Tensor:
    """Return pictures of one size as an IMAGE batch, (B, H, W, 3) float32 RGB in 0..1, on the CPU.

    Raises WrongInputError when the sizes differ.
    """
    sizes = {picture.shape[:2] for picture in pictures}
    if len(sizes) != 1:
        found = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise WrongInputError(
            f"One batch takes pictures of one size; found {found or 'no picture'}. Resize them."
        )
    stacked = np.stack([picture[..., ::-1] for picture in pictures])
    return torch.from_numpy(stacked).float() / 255


def rgb_to_images(pictures: NDArray[np.uint8]) -> Tensor:
    """Return RGB bytes, (B, H, W, 3) or (H, W, 3), as an IMAGE batch (B, H, W, 3) in 0..1."""
    batch = pictures[None] if pictures.ndim == 3 else pictures
    return torch.from_numpy(batch.copy()).float() / 255


def to_rgb(images: Tensor) -> Tensor:
    """Return an IMAGE as (B, H, W, 3) float32 on the CPU: grey repeated, alpha left out, NaN 0.

    The values are not clamped. Raises WrongInputError as `to_pictures` does.
    """
    batch = image_batch(images)
    if not batch.is_floating_point():
        batch = batch.float() / 255
    rgb = batch[..., :1].expand(-1, -1, -1, 3) if batch.shape[-1] == 1 else batch[..., :3]
    values = torch.nan_to_num(rgb.float().cpu(), nan=0.0, posinf=1.0, neginf=0.0)
    if values.max() > LARGEST_VALUE:
        raise _not_to_one(values.max().item())
    return values
