"""The recogniser of drawn people: an aligned crop of 112 x 112 becomes 512 numbers.

A small network is trained to read what makes a person (`code_of`) from the crop; a fixed matrix
with orthonormal columns spreads that code over 512 numbers of a length as the real recogniser's.
Two crops of one person are then as near as their codes, whoever the person is.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import Conv2d, Linear

from .world import EYES, STYLES, Identity, Picture, Points

# Where the five points lie in a crop of 112 pixels; insightface's `arcface_dst`.
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
CROP, POOLED = 112, 28
CODE = 3 + 3 + len(STYLES) + len(EYES) + 3
LENGTH = 22.0  # of an average face embedding


def code_of(who: Identity) -> NDArray[np.float32]:
    """Return (CODE,) float32: what a portrait shows of a person, each part about 1 in size."""
    skin = (np.array(who.skin) - (174, 141, 117)) / 45
    seen = who.style != "bald" or who.beard
    hair = (np.array(who.hair) - (137, 108, 102)) / 70 if seen else np.zeros(3)
    style = 1.2 * (np.arange(len(STYLES)) == STYLES.index(who.style)) - 0.24
    eyes = 0.7 * (np.arange(len(EYES)) == who.eyes) - 0.233
    rest = (0.7 * (2 * who.glasses - 1), 0.7 * (2 * who.beard - 1), 4 * (who.aspect - 0.83))
    return np.concatenate([0.7 * skin, hair, style, eyes, rest]).astype(np.float32)


def align(picture: Picture, kps: Points) -> Picture:
    """Return the (112, 112, 3) crop whose five points lie on the template as well as they can."""
    source, target = kps.astype(np.float64), TEMPLATE.astype(np.float64)
    middle, goal = source.mean(0), target.mean(0)
    a, b = source - middle, target - goal
    size = (a**2).sum()
    scale_cos = (a * b).sum() / size
    scale_sin = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([[scale_cos, -scale_sin], [scale_sin, scale_cos]])
    matrix = np.concatenate([turn, (goal - turn @ middle)[:, None]], axis=1)
    return cv2.warpAffine(picture, matrix, (CROP, CROP), borderValue=(0, 0, 0))


class Recogniser(nn.Module):
    """(B,3,112,112) RGB in -1..1 -> (B,512)."""

    def __init__(self) -> None:
        super().__init__()
        self.shrink = nn.AvgPool2d(CROP // POOLED)
        self.layers = nn.Sequential(
            Conv2d(3, 24, 3, padding=1),
            nn.ReLU(),
            Conv2d(24, 48, 3, stride=2, padding=1),
            nn.ReLU(),
            Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            Conv2d(64, 48, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            Linear(48 * 49, 128),
            nn.ReLU(),
            Linear(128, CODE),
        )
        generator = torch.Generator().manual_seed(11)
        random = torch.randn(512, CODE, generator=generator, dtype=torch.float64)
        columns, _ = torch.linalg.qr(random)
        self.register_buffer("spread", (columns * LENGTH / math.sqrt(6.5)).float())

    def code(self, shrunk: Tensor) -> Tensor:
        """(B,3,28,28) -> (B,CODE)."""
        return self.layers(shrunk)

    def forward(self, crop: Tensor) -> Tensor:
        return self.code(self.shrink(crop)) @ self.spread.T


def embed(recogniser: Recogniser, crops: list[Picture]) -> NDArray[np.float32]:
    """Return (n, 512) for n aligned crops."""
    stacked = torch.from_numpy(np.stack(crops)).movedim(-1, 1)
    with torch.no_grad():
        parts = [recogniser(part.float() / 127.5 - 1) for part in stacked.split(256)]
    return torch.cat(parts).numpy()
