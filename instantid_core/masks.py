"""Masks: what a user gives, what is made of faces, and what a layer of a network is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from . import checks
from .errors import WrongInputError


class Region(ABC):
    """Something that becomes a mask as soon as the picture's size is known."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """How many frames it has; a shorter video starts over, one frame serves all."""

    @abstractmethod
    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32, 0..1, CPU.

        frames: which frames, each below `frame_count`; None is all of them.
        """

    @property
    def changes(self) -> bool:
        """Whether it is another one at other moments of the sampling."""
        return False

    def at(self, percent: float) -> Region:
        """Return it as it is at a percent of the sampling, 0..1."""
        return self


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


def frame_count(mask: Mask) -> int:
    """Return how many frames a mask has."""
    return mask.frame_count if isinstance(mask, Region) else len(mask)


def rendered(mask: Mask, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
    """Return frames of a mask as (F,H,W) float32, all of them for None.

    A Region is rendered for a picture of that size, a tensor keeps its own.
    """
    if isinstance(mask, Region):
        return mask.render(width, height, frames)
    return mask if frames is None or list(frames) == list(range(len(mask))) else mask[list(frames)]


def changes(mask: Mask | None) -> bool:
    """Say whether a mask is another one at other moments of the sampling."""
    return isinstance(mask, Region) and mask.changes


def is_all(mask: object, value: float) -> bool:
    """Say whether a mask is a tensor of which every pixel is `value`."""
    return isinstance(mask, Tensor) and bool((mask == value).all())


def resized(mask: Tensor, height: int, width: int) -> Tensor:
    """(F,H,W) -> (F,height,width) by nearest neighbour."""
    return on_grid(mask, (height, width))


def on_grid(mask: Tensor, grid: Grid, *, bilinear: bool = False) -> Tensor:
    """(F,H,W) -> (F,h,w): a layer's grid by nearest neighbour, or bilinearly.

    Source: InstantID `ip_adapter/attention_processor.py`, `F.interpolate(mode="nearest")`, and its
    ControlNet pipeline, which resizes the region mask bilinearly.
    """
    if mask.shape[-2:] == grid:
        return mask
    mode = "bilinear" if bilinear else "nearest"
    return interpolate(mask[:, None], size=grid, mode=mode)[:, 0]


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

    def cut(self, x: Tensor) -> Tensor:
        """(B,n,C) of the layer -> (B,h,w,C), the cells of the box; a view."""
        top, left = self.corner
        height, width = self.values.shape[1:3]
        return x.unflatten(1, self.grid)[:, top : top + height, left : left + width]


def cut_to_box(mask: Tensor) -> LaidMask:
    """Cut a mask (B or 1, h, w) on a layer's grid to the cells where some row is not 0."""
    used = (mask != 0).any(dim=0)
    rows, columns = _span(used.any(dim=1)), _span(used.any(dim=0))
    box = mask[:, rows, columns, None].contiguous()
    return LaidMask(box, (rows.start, columns.start), (mask.shape[1], mask.shape[2]))


def _span(used: Tensor) -> slice:
    """Return the shortest slice with everything that is true in it."""
    places = used.nonzero()[:, 0]
    if len(places) == 0:
        return slice(0, 0)
    return slice(int(places[0]), int(places[-1]) + 1)


def halved(grid: Grid, times: int) -> Grid:
    """Return a grid after that many convolutions of stride 2, which round up."""
    height, width = grid
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def grid_of(tokens: int, activations: Sequence[int] | None, latent: Grid) -> Grid:
    """Return (height, width) of a layer's grid of `tokens` cells.

    activations: the shape (..., height, width) that the layer's block reports, where it does.
    latent: (height, width) of the latent; it is halved, rounding up, until the cells fit.
    """
    if activations is not None and activations[-2] * activations[-1] == tokens:
        return activations[-2], activations[-1]
    height, width = latent
    while height * width > tokens and max(height, width) > 1:
        height, width = halved((height, width), 1)
    if height * width != tokens:
        raise WrongInputError(
            f"The mask cannot be laid over a layer of {tokens} cells in a latent of "
            f"{latent[1]}x{latent[0]}: another node of this workflow changes the number of cells. "
            "Remove the mask, or the node that merges or drops cells."
        )
    return height, width
