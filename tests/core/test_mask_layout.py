"""Masks on parts of the picture, and what is kept of them within a bound of bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core.mask_layout import MaskLayout, Recent, Rectangle, View
from faithful_instantid.instantid_core.masks import Grid

CANVAS = (10, 12)  # cells, each of 8 x 8 pixels
MASKS = {
    "as large as the picture": torch.rand(3, 80, 96, generator=torch.Generator().manual_seed(1)),
    "of another size": torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(2)),
}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def nearest(values: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[rows[:, None], columns[None, :]]


@every_mask
@pytest.mark.parametrize(
    ("part", "grid"),
    [
        (Rectangle(1, 2, 5, 7), (3, 4)),
        (Rectangle(3, 0, 7, 4), (4, 2)),
        (Rectangle(1, 2, 4, 4), (2, 2)),
        (Rectangle(0, 4, 9, 8), (9, 5)),
    ],
    ids=["odd both ways", "odd in height", "between the cells", "odd in width"],
)
def test_a_part_whose_cells_are_not_the_pictures_gets_the_pixels_it_shows(
    mask: torch.Tensor, part: Rectangle, grid: Grid
) -> None:
    (laid,) = MaskLayout(mask).over([grid], View(CANVAS, (part, part), (1, 2)))
    assert laid.shape == (1, 2, *grid)
    for row, frame in enumerate((1, 2)):
        pixels = nearest(mask[frame].numpy(), 80, 96)
        top, left, height, width = (8 * n for n in (part.top, part.left, part.height, part.width))
        wanted = nearest(pixels[top : top + height, left : left + width], *grid)
        assert np.array_equal(laid[0, row].numpy(), wanted)


@every_mask
@pytest.mark.parametrize("bilinear", [False, True])
@pytest.mark.parametrize(("part", "step"), [(Rectangle(2, 4, 4, 8), 2), (Rectangle(3, 5, 7, 2), 1)])
def test_a_part_whose_cells_are_the_pictures_gets_the_numbers_of_the_whole(
    mask: torch.Tensor, part: Rectangle, step: int, bilinear: bool
) -> None:
    layout = MaskLayout(mask, bilinear=bilinear)
    everything = Rectangle(0, 0, *CANVAS)
    whole_grid = (CANVAS[0] // step, CANVAS[1] // step)
    (whole,) = layout.over([whole_grid], View(CANVAS, (everything,), (1,)))
    top, left, height, width = (n // step for n in (part.top, part.left, part.height, part.width))
    (laid,) = layout.over([(height, width)], View(CANVAS, (part,), (1,)))
    assert torch.equal(laid, whole[..., top : top + height, left : left + width])


def kept(recent: Recent[str, int], names: str) -> str:
    """Look all up, which counts as a use, in this order; return those that are there."""
    return "".join(name for name in names if recent.get(name) is not None)


def test_within_the_bound_everything_is_kept_and_beyond_it_the_oldest_goes() -> None:
    recent: Recent[str, int] = Recent(limit=3)
    for number, name in enumerate("abc"):
        recent.put(name, number, 1)
    assert [recent.get(name) for name in "abc"] == [0, 1, 2]
    recent.put("d", 3, 1)
    assert kept(recent, "abcd") == "bcd"
    recent.put("e", 4, 2)
    assert kept(recent, "bcde") == "de"


def test_what_was_used_lately_outlives_what_was_not() -> None:
    recent: Recent[str, int] = Recent(limit=2)
    recent.put("a", 0, 1)
    recent.put("b", 1, 1)
    assert recent.get("a") == 0
    recent.put("c", 2, 1)
    assert kept(recent, "abc") == "ac"


def test_what_is_put_again_takes_its_room_once() -> None:
    recent: Recent[str, int] = Recent(limit=3)
    recent.put("a", 0, 1)
    for value in range(3):
        recent.put("b", value, 2)
    assert kept(recent, "ab") == "ab"
    assert recent.get("b") == 2
    recent.put("b", 3, 1)
    recent.put("c", 4, 1)
    assert kept(recent, "abc") == "abc"


def test_the_newest_is_kept_however_large_it_is_and_its_room_is_free_again_after_it() -> None:
    recent: Recent[str, int] = Recent(limit=2)
    recent.put("a", 0, 1)
    recent.put("b", 1, 100)
    assert kept(recent, "ab") == "b"
    recent.put("c", 2, 1)
    recent.put("d", 3, 1)
    assert kept(recent, "bcd") == "cd"
