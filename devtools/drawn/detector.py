"""The detector of drawn people: a small network with SCRFD's inputs and outputs.

It looks at the picture four times smaller and answers on a grid of 32 pixels alone, with one of
the two anchors of each place; everything else of the nine outputs is silent.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Conv2d

STRIDE = 32
INSIDE, POINTS = 4, 10
PLANES = 1 + INSIDE + POINTS


class Detector(nn.Module):
    """(B,3,H,W) RGB in -1..1 -> (B,15,H/32,W/32).

    The planes: how sure, as a logit; the box's left, top, right and bottom and the five points'
    x and y as offsets from the anchor (the place's upper left corner), in strides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.AvgPool2d(4),
            Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            Conv2d(16, 24, 3, padding=1),
            nn.ReLU(),
            Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            Conv2d(32, 48, 3, padding=1),
            nn.ReLU(),
            Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            Conv2d(64, 64, 3, padding=2, dilation=2),
            nn.ReLU(),
            Conv2d(64, 64, 3, padding=3, dilation=3),
            nn.ReLU(),
            Conv2d(64, 64, 3, padding=2, dilation=2),
            nn.ReLU(),
            Conv2d(64, PLANES, 1),
        )

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)


def wanted(kps: np.ndarray, boxes: np.ndarray, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Return what a picture's planes shall say, (15,rows,columns), and where, (rows,columns) bool.

    kps: (F,5,2), boxes: (F,4), in pixels of the detector's input. A face is answered for by the
    anchors near the middle of its points.
    """
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    out = np.zeros((PLANES, rows, columns), np.float32)
    near = np.zeros((rows, columns), bool)
    best = np.full((rows, columns), np.inf, np.float32)
    for points, box in zip(kps / STRIDE, boxes / STRIDE, strict=True):
        middle = points.mean(0)
        size = box[3] - box[1]
        distance = np.hypot(x - middle[0], y - middle[1]) / size
        nearer = distance < best
        best = np.where(nearer, distance, best)
        reach = max(0.2, 0.75 / size)
        offsets = points.reshape(-1)[:, None, None] - np.stack([x, y] * 5)
        sides = box[:, None, None] - np.stack([x, y] * 2)
        out[1:] = np.where(nearer, np.concatenate([sides, offsets]), out[1:])
        near = np.where(nearer, distance < reach, near)
    out[0] = near
    return torch.from_numpy(out), torch.from_numpy(near)
