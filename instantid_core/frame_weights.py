"""Weights by frame of a video: a mask that is the same all over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import checks, masks
from .errors import WrongInputError
from .masks import Mask, Region

ENDLESS = 1 << 20  # frames: the factor of the last point holds for all that come


@dataclass(frozen=True)
class FrameWeights:
    """A factor by frame, straight between points.

    points: (frame, factor), frames from 0, ascending; before the first and after the last point the
    factor stays.
    """

    points: tuple[tuple[int, float], ...]

    def at(self, frames: Sequence[float] | NDArray[np.float64]) -> Tensor:
        """Return the factors of frames: (F,) float32."""
        known, factors = zip(*self.points, strict=True)
        return torch.from_numpy(np.interp(frames, known, factors)).float()

    @property
    def is_off(self) -> bool:
        """Whether the factor is 0 in every frame."""
        return all(factor == 0.0 for _, factor in self.points)

    @property
    def is_plain(self) -> bool:
        """Whether the factor is 1 in every frame."""
        return all(factor == 1.0 for _, factor in self.points)


def parse_frame_weights(text: str) -> FrameWeights:
    """Return weights written as points, "0:1, 24:0.5". Raises WrongInputError for anything else."""
    points: list[tuple[int, float]] = []
    for part in text.replace(";", ",").replace("\n", ",").split(","):
        if part.strip():
            frame, colon, factor = part.partition(":")
            if not colon or not frame.strip().isdecimal():
                raise _not_points(text)
            points.append((int(frame), checks.number(factor, "A weight of a frame")))
    frames = [frame for frame, _ in points]
    if not points or frames != sorted(set(frames)) or frames[-1] >= ENDLESS:
        raise _not_points(text)
    return FrameWeights(tuple(points))


def _not_points(text: str) -> WrongInputError:
    return WrongInputError(
        f"The frame weights are {checks.shown(text) if text else 'empty'}. Wanted: points as frame "
        ': factor, with commas between, frames ascending from 0; for example "0:1, 24:0.5, 48:0".'
    )


def weighted_frames(mask: Mask | None, weights: FrameWeights | None) -> Mask | None:
    """Return a mask, None for everywhere, with a factor on every frame; as it is without."""
    if weights is None or weights.is_plain:
        return mask
    return WeightedFrames(mask, weights)


@dataclass(frozen=True, eq=False)
class WeightedFrames(Region):
    """A mask, or the whole picture, times a factor by frame; it may be more than 1."""

    mask: Mask | None
    weights: FrameWeights

    @property
    def frame_count(self) -> int:
        """Endless: weights do not start over as masks do."""
        return ENDLESS

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32, CPU.

        frames: None is up to the last point.
        """
        shown = range(self.weights.points[-1][0] + 1) if frames is None else frames
        factors = self.weights.at(shown)[:, None, None]
        if self.mask is None:
            return factors.expand(-1, height, width)
        count = masks.frame_count(self.mask)
        own = masks.rendered(self.mask, width, height, [frame % count for frame in shown])
        return own * factors

    @property
    def changes(self) -> bool:
        """As the mask does."""
        return masks.changes(self.mask)

    def at(self, percent: float) -> WeightedFrames:
        """Return it as it is at a percent of the sampling, 0..1."""
        inner = self.mask.at(percent) if isinstance(self.mask, Region) else self.mask
        return WeightedFrames(inner, self.weights)
