"""Pictures small and few enough to be shown on a node at every run."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

MOST = 8  # pictures
LARGEST = 768  # pixels of the long side


def few(count: int) -> list[int]:
    """Return the numbers of at most MOST of `count` pictures, evenly spread, the first and last."""
    if count <= MOST:
        return list(range(count))
    return [round(i * (count - 1) / (MOST - 1)) for i in range(MOST)]


def size_within(width: int, height: int, largest: int) -> tuple[int, int]:
    """Return (width, height) of the same shape with sides of at most `largest`, at least 1."""
    scale = min(1.0, largest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def small(images: Tensor, largest: int = LARGEST) -> Tensor:
    """Return at most MOST pictures, their long side at most `largest`.

    images: IMAGE (B,H,W,C) in 0..1 -> (b,h,w,C) float32 on the CPU, in 0..1.
    """
    own = images[few(len(images))].detach().float().cpu()
    height, width = own.shape[1:3]
    w, h = size_within(width, height, largest)
    if (w, h) == (width, height):
        return own
    rows = own.movedim(-1, 1)  # (b,C,H,W)
    scaled = interpolate(rows, size=(h, w), mode="bilinear", antialias=True)
    return scaled.movedim(1, -1).clamp(0, 1)
