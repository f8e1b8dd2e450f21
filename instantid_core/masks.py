"""From a mask of any size to the grid of one attention layer."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from . import checks
from .errors import WrongInputError


@runtime_checkable
class Region(Protocol):
    """Something that becomes a mask as soon as the picture's size is known."""

    def render(self, width: int, height: int) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32, 0..1, CPU."""
        ...


Mask = Tensor | Region


def checked(mask: object) -> Mask | None:
    """Return `mask` as (F,H,W) float32 on the CPU, a Region as it is; WrongInputError otherwise."""
    if mask is None or isinstance(mask, Region):
        return mask
    if not isinstance(mask, Tensor):
        raise WrongInputError(
            f"The mask is {checks.kind_of(mask)}. A MASK is wanted: height x width or frames x "
            "height x width numbers from 0 to 1."
        )
    if mask.ndim not in (2, 3) or mask.numel() == 0:
        raise WrongInputError(
            f"The mask has the size {checks.size_of(mask.shape)}. Wanted: height x width or frames "
            "x height x width. Connect a MASK, not an IMAGE or a LATENT."
        )
    mask = checks.tensor(mask, "The mask", "a MASK")
    frames = mask.reshape(-1, *mask.shape[-2:]).to(device="cpu", dtype=torch.float32)
    if not bool(frames.isfinite().all()):
        raise WrongInputError(
            "The mask has values that are not numbers (NaN or infinity). "
            "Check the node that makes it; values from 0 to 1 are wanted."
        )
    return frames.clamp(0.0, 1.0)


def rendered(mask: Mask, width: int, height: int) -> Tensor:
    """Return the mask as (F,H,W) float32: a Region is rendered for a picture of that size."""
    return mask.render(width, height) if isinstance(mask, Region) else mask


def is_all(mask: Tensor, value: float) -> bool:
    """Say whether every pixel of `mask` is `value`."""
    return bool((mask == value).all())


def resized(mask: Tensor, height: int, width: int) -> Tensor:
    """(F,H,W) -> (F,height,width) by nearest neighbour."""
    if mask.shape[-2:] == (height, width):
        return mask
    return interpolate(mask[:, None], size=(height, width), mode="nearest")[:, 0]


def on_grid(mask: Tensor, height: int, width: int, *, smooth: bool = False) -> Tensor:
    """(F,H,W) -> (F, height*width, 1): the layer's grid by nearest neighbour, rows first.

    smooth: bilinear instead.

    Source: InstantID `ip_adapter/attention_processor.py`, `F.interpolate(mode="nearest")`.
    """
    mode = "bilinear" if smooth else "nearest"
    return interpolate(mask[:, None], size=(height, width), mode=mode).flatten(1)[..., None]


def grid_of(
    tokens: int, activations: tuple[int, int] | None, latent: tuple[int, int]
) -> tuple[int, int]:
    """Return (height, width) of a layer's grid of `tokens` cells.

    activations: (height, width) that the layer's block reports, where it does.
    latent: (height, width) of the latent; it is halved, rounding up, until the cells fit.
    """
    if activations is not None and activations[0] * activations[1] == tokens:
        return activations
    height, width = latent
    while height * width > tokens and max(height, width) > 1:
        height, width = (height + 1) // 2, (width + 1) // 2
    if height * width != tokens:
        raise WrongInputError(
            f"The mask cannot be laid over a layer of {tokens} cells in a latent of "
            f"{latent[1]}x{latent[0]}: another node of this workflow changes the number of cells. "
            "Remove the mask, or the node that merges or drops cells."
        )
    return height, width
