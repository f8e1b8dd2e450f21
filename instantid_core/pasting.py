"""Crops back into their picture, with a soft seam."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from . import checks
from .affine import Affine, resizing, shifting, warp
from .crops import FaceCrop, Piece, mask_at
from .errors import WrongInputError
from .images import image_batch, to_rgb
from .regions import AROUND_HEAD, Outline

LEAST_SEAM = 16  # pixels that the colour of a seam is taken from


def paste(
    images: Tensor,
    results: Tensor,
    crop: FaceCrop,
    outline: Outline = AROUND_HEAD,
    colour_match: float = 0.0,
) -> Tensor:
    """Return the pictures with the crops pasted back: (B,H,W,3 or 4) float32 on the CPU.

    images: IMAGE, the frames that were cropped, or a multiple of them. results: IMAGE of the
    crops' aspect in any size, one for each crop, or a multiple of them, which gives as many times
    the frames. outline: the part that is pasted; outside of it not a bit changes. colour_match:
    0..1, how much of the difference in mean colour along the seam is taken from the crop.

    Raises WrongInputError for pictures or results of another size, shape or number.
    """
    match = checks.number(colour_match, "colour_match")
    pictures = image_batch(images)
    made = to_rgb(results)
    _check_sizes(pictures, made, crop)
    variants, copies = _variants(len(pictures), len(made), crop)
    if pictures.shape[-1] == 1 or not pictures.is_floating_point():
        pictures = to_rgb(pictures)
    done = pictures.float().cpu().repeat(copies // variants[0], 1, 1, 1)
    for number in range(copies):
        for place, piece in enumerate(crop.pieces):
            target = done[number * crop.frame_count + piece.frame]
            result = made[number % variants[1] * len(crop.pieces) + place]
            _paste(target[..., :3], result, piece, crop.size, outline, match)
    return done


def _check_sizes(pictures: Tensor, results: Tensor, crop: FaceCrop) -> None:
    height, width = pictures.shape[1:3]
    if (width, height) != crop.picture:
        raise WrongInputError(
            f"The picture has {width} x {height} pixels, the one that was cropped had "
            f"{crop.picture[0]} x {crop.picture[1]}. Connect the picture that went into Crop Face."
        )
    height, width = results.shape[1:3]
    own = crop.size[0] / crop.size[1]
    if min(abs(width - height * own), abs(height - width / own)) > 1:
        raise WrongInputError(
            f"The crop to paste has {width} x {height} pixels; wanted {crop.size[0]} x "
            f"{crop.size[1]}, or another size of the same shape. Make it from the output of Crop "
            "Face, and do not cut it."
        )


def _variants(pictures: int, results: int, crop: FaceCrop) -> tuple[tuple[int, int], int]:
    """How many times the frames and the crops come, and how many times the frames go out."""
    frames, pieces = crop.frame_count, len(crop.pieces)
    times = pictures // frames, results // pieces
    if pictures % frames or results % pieces or not (1 in times or times[0] == times[1]):
        raise WrongInputError(
            f"There are {pictures} pictures and {results} crops to paste; {frames} and {pieces} "
            "were cropped. Wanted: as many, or each a multiple, the same for both."
        )
    return times, max(times)


def _paste(
    target: Tensor,
    result: Tensor,
    piece: Piece,
    size: tuple[int, int],
    outline: Outline,
    match: float,
) -> None:
    """Paste one crop (h,w,3) into one picture (H,W,3), in place."""
    height, width = target.shape[:2]
    left, top, right, bottom = _bounds(piece.place, size, width, height)
    if left >= right or top >= bottom:
        return
    x, y = torch.meshgrid(torch.arange(left, right), torch.arange(top, bottom), indexing="xy")
    onto = torch.from_numpy(piece.place.points(torch.stack([x, y], dim=-1).numpy())).float()
    mask = mask_at(piece, size, outline, onto[..., 0], onto[..., 1])[..., None]  # (h,w,1)
    own = resizing(size, (result.shape[1], result.shape[0]))
    back = piece.place.then(own).inverse.then(shifting(-left, -top))
    warped = torch.from_numpy(warp(result.numpy(), back, right - left, bottom - top))
    part = target[top:bottom, left:right]
    if match:
        warped = (warped + match * _seam_difference(part, warped, mask)).clamp(0, 1)
    part.copy_(torch.where(mask > 0, warped * mask + part * (1 - mask), part))


def _bounds(
    place: Affine, size: tuple[int, int], width: int, height: int
) -> tuple[int, int, int, int]:
    """The part of the picture that holds the crop: left, top, and right, bottom just outside."""
    right, bottom = size[0] - 0.5, size[1] - 0.5
    corners = place.inverse.points([(-0.5, -0.5), (right, -0.5), (-0.5, bottom), (right, bottom)])
    low = np.floor(corners.min(axis=0)).astype(int).clip(0)
    high = np.ceil(corners.max(axis=0)).astype(int).clip(-1, [width - 1, height - 1]) + 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _seam_difference(part: Tensor, warped: Tensor, mask: Tensor) -> Tensor:
    """The mean of picture minus crop along the seam, (3,): where the mask is neither 0 nor 1.

    Only pixels of this very region count, so that faces which do not overlap may be pasted in any
    order. Without a soft edge all of the region counts.
    """
    seam = ((mask > 0) & (mask < 1))[..., 0]
    if int(seam.sum()) < LEAST_SEAM:
        seam = (mask > 0)[..., 0]
    if not bool(seam.any()):
        return torch.zeros(3)
    return (part[seam] - warped[seam]).mean(dim=0)
