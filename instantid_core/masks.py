"""From a mask of any size to the grid of one attention layer."""

from __future__ import annotations

from dataclasses import dataclass
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
Grid = tuple[int, int]  # height, width


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


@dataclass(frozen=True, eq=False)
class LaidMask:
    """A mask on the grid of one layer, cut to the box of cells outside of which it is 0.

    values: (B or 1, h, w, 1), the mask inside the box. corner: (top, left) of the box in the grid.
    """

    values: Tensor
    corner: Grid
    grid: Grid

    @property
    def is_empty(self) -> bool:
        """Whether the mask is 0 in every cell of this grid."""
        return self.values.numel() == 0

    def to(self, other: Tensor) -> LaidMask:
        """Return the same mask on the device and in the dtype of another tensor."""
        return LaidMask(self.values.to(other), self.corner, self.grid)

    def cut(self, x: Tensor) -> Tensor:
        """(B,n,C) of the layer -> (B,h,w,C), the cells of the box; a view."""
        top, left = self.corner
        height, width = self.values.shape[1:3]
        return x.unflatten(1, self.grid)[:, top : top + height, left : left + width]


def laid(mask: Tensor, grid: Grid) -> LaidMask:
    """Cut a mask (B or 1, n, 1) on a layer's grid to the cells where some row is not 0."""
    cells = mask.unflatten(1, grid)
    used = (cells[..., 0] != 0).any(dim=0)
    rows, columns = _span(used.any(dim=1)), _span(used.any(dim=0))
    box = cells[:, rows, columns].contiguous()
    return LaidMask(box, (rows.start, columns.start), grid)


def _span(used: Tensor) -> slice:
    """Return the shortest slice with everything that is true in it."""
    places = used.nonzero()[:, 0]
    if len(places) == 0:
        return slice(0, 0)
    return slice(int(places[0]), int(places[-1]) + 1)


def grid_of(tokens: int, activations: Grid | None, latent: Grid) -> Grid:
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
