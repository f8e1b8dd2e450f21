"""A mask over any grid: the parts and frames that the rows of one call of a network show.

The one place that takes a mask from a picture to the cells of a layer: for the adapter, for
IdentityNet's residuals, and for several people inside IdentityNet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from .masks import Grid, Mask, on_grid, rendered
from .people import PeopleMasks

LATENT_SCALE = 8  # pixels of the picture to a latent cell
MEMORY = 64 * 2**20  # bytes of grids that are kept for a sampling's next calls
FRAMES_AT_ONCE = 8  # of a picture's size, while masks are made

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of a canvas, in latent cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> Grid:
        """(height, width)."""
        return self.height, self.width


@dataclass(frozen=True)
class View:
    """What the rows of one call show.

    canvas: (height, width) of the whole latent, in cells. rectangles: of each row, the part of the
    canvas that it shows; all of one size. frames: the batch index of each row.
    """

    canvas: Grid
    rectangles: tuple[Rectangle, ...]
    frames: tuple[int, ...]

    @property
    def latent(self) -> Grid:
        """(height, width) of the rows themselves, in cells."""
        return self.rectangles[0].size

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height) of the whole picture, in pixels."""
        return self.canvas[1] * LATENT_SCALE, self.canvas[0] * LATENT_SCALE


class Recent(Generic[Key, Kept]):
    """What was made lately, by key, within a bound of bytes; the oldest goes first."""

    def __init__(self, limit: int = MEMORY) -> None:
        self._limit = limit
        self._held = 0
        self._entries: OrderedDict[Key, tuple[Kept, int]] = OrderedDict()

    def get(self, key: Key) -> Kept | None:
        """Return what is kept under a key, None if nothing is."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Key, value: Kept, nbytes: int) -> None:
        """Keep a value, and forget the oldest ones that no longer fit beside it."""
        _, before = self._entries.pop(key, (None, 0))
        self._entries[key] = (value, nbytes)
        self._held += nbytes - before
        while self._held > self._limit and len(self._entries) > 1:
            _, (_, gone) = self._entries.popitem(last=False)
            self._held -= gone


class MaskLayout:
    """Lays one mask, or the masks of several people, over the grids that calls ask for.

    What was laid is kept by all that it depends on: size, part, frame and grid. Pictures of full
    size are made for the frames that are asked for, and dropped at once.
    """

    def __init__(self, mask: Mask | PeopleMasks, *, bilinear: bool = False) -> None:
        """mask: (F,H,W) in 0..1 of any size, a Region, or masks of P people."""
        self._mask = mask
        self._bilinear = bilinear
        self._count = len(mask) if isinstance(mask, Tensor) else mask.frame_count
        self._laid: Recent[tuple[Grid, Rectangle, Grid, int], Tensor] = Recent()

    def over(self, grids: Iterable[Grid], view: View) -> list[Tensor]:
        """Return the mask on each grid (h,w): (P, B or 1, h, w) float32 on the CPU.

        P is 1 for a mask; B is 1 where all rows are alike.
        """
        grids = list(grids)
        frames = tuple(frame % self._count for frame in view.frames)
        rows = list(zip(view.rectangles, frames, strict=True))
        if len(set(rows)) == 1:
            rows = rows[:1]
        made = self._made(grids, view.canvas, list(dict.fromkeys(rows)))
        return [
            torch.stack([made[grid, rectangle, frame] for rectangle, frame in rows], dim=1)
            for grid in grids
        ]

    def _made(
        self, grids: Sequence[Grid], canvas: Grid, rows: Sequence[tuple[Rectangle, int]]
    ) -> dict[tuple[Grid, Rectangle, int], Tensor]:
        """(P,h,w) for each grid, rectangle and frame; what is kept is not made again."""
        made: dict[tuple[Grid, Rectangle, int], Tensor] = {}
        missing: dict[int, list[tuple[Grid, Rectangle]]] = {}
        for rectangle, frame in rows:
            for grid in grids:
                kept = self._laid.get((canvas, rectangle, grid, frame))
                if kept is None:
                    missing.setdefault(frame, []).append((grid, rectangle))
                else:
                    made[grid, rectangle, frame] = kept
        frames = list(missing)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            chunk = frames[start : start + FRAMES_AT_ONCE]
            for frame, picture in zip(chunk, self._pictures(chunk, canvas), strict=True):
                for grid, rectangle in missing[frame]:
                    laid = _laid_out(picture, grid, rectangle, canvas, bilinear=self._bilinear)
                    made[grid, rectangle, frame] = laid
                    self._laid.put((canvas, rectangle, grid, frame), laid, laid.nbytes)
        return made

    def _pictures(self, frames: Sequence[int], canvas: Grid) -> Iterable[Tensor]:
        """(P,H,W) of each frame, for a canvas in cells."""
        height, width = (side * LATENT_SCALE for side in canvas)
        if isinstance(self._mask, PeopleMasks):
            return self._mask.render(width, height, frames).unbind(1)
        return rendered(self._mask, width, height, frames)[:, None]


def _laid_out(
    picture: Tensor, grid: Grid, rectangle: Rectangle, canvas: Grid, *, bilinear: bool
) -> Tensor:
    """(P,H,W) of a whole picture -> (P,h,w), the cells of a grid over one rectangle of it.

    Where the grid's cells are those of the whole picture's grid, they are cut out of it, so that a
    part gets the same numbers as it has in the whole.
    """
    if rectangle == Rectangle(0, 0, *canvas):
        return on_grid(picture, grid, bilinear=bilinear)
    whole = _grid_of_canvas(grid, rectangle, canvas)
    if whole is not None:
        laid = on_grid(picture, whole, bilinear=bilinear)
        top = rectangle.top * grid[0] // rectangle.height
        left = rectangle.left * grid[1] // rectangle.width
        return laid[:, top : top + grid[0], left : left + grid[1]].clone()
    pixels = on_grid(picture, (canvas[0] * LATENT_SCALE, canvas[1] * LATENT_SCALE))
    top, left = rectangle.top * LATENT_SCALE, rectangle.left * LATENT_SCALE
    height, width = rectangle.height * LATENT_SCALE, rectangle.width * LATENT_SCALE
    return on_grid(pixels[:, top : top + height, left : left + width], grid, bilinear=bilinear)


def _grid_of_canvas(grid: Grid, rectangle: Rectangle, canvas: Grid) -> Grid | None:
    """Return the grid of the whole canvas whose cells a part's grid is cut from.

    None where the part's cells do not lie on it: where cells to a step is no whole number.
    """
    sides = zip(grid, rectangle.size, (rectangle.top, rectangle.left), canvas, strict=True)
    whole: list[int] = []
    for cells, length, start, full in sides:
        step = length // cells
        if length % cells or start % step or full % step:
            return None
        whole.append(full // step)
    return whole[0], whole[1]


def packed_to(tensors: Sequence[Tensor], like: Tensor) -> list[Tensor]:
    """Return tensors in the dtype and on the device of another, moved there in one copy."""
    if not tensors:
        return []
    flat = torch.cat([tensor.flatten() for tensor in tensors]).to(like)
    parts: Sequence[Tensor] = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]
