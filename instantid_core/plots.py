"""Weights as a picture: what the nodes for layer weights and weight curves show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .frame_weights import FrameWeights
from .weighting import GROUPS, LayerWeights, WeightCurve

WIDTH, HEIGHT = 512, 256
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 500, 16, 216
_BACKGROUND, _GRID, _TEXT, _INK = (24, 24, 28), (64, 64, 72), (200, 200, 208), (96, 176, 255)

RGB = NDArray[np.uint8]


def plot_layers(layers: LayerWeights) -> RGB:
    """Return a bar for each block of the UNet: (256,512,3) uint8 RGB."""
    image, draw, scale = _axes(layers.values)
    step = (_RIGHT - _LEFT) / len(GROUPS)
    for i, ((block, index), value) in enumerate(zip(GROUPS, layers.values, strict=True)):
        x = _LEFT + step * (i + 0.5)
        top, bottom = sorted((_y(value, scale), _y(0.0, scale)))
        draw.rectangle((x - step * 0.35, top, x + step * 0.35, bottom), fill=_INK)
        draw.text((x, _BOTTOM + 6), _NAMES[block], fill=_TEXT, anchor="ma")
        if block != "middle":
            draw.text((x, _BOTTOM + 20), str(index), fill=_TEXT, anchor="ma")
    return np.asarray(image)


def plot_curve(curve: WeightCurve) -> RGB:
    """Return the factor over the sampling as a line: (256,512,3) uint8 RGB."""
    percents = np.linspace(0.0, 1.0, _RIGHT - _LEFT)
    line = [curve.at(float(percent)) for percent in percents]
    ticks = {part: f"{part:.0%}" for part in (0.0, 0.25, 0.5, 0.75, 1.0)}
    return _line([factor for _, factor in curve.points], line, ticks, "of the sampling")


def plot_frames(weights: FrameWeights) -> RGB:
    """Return the factor by frame as a line, up to the last point: (256,512,3) uint8 RGB."""
    last = max(weights.points[-1][0], 1)
    line = [float(factor) for factor in weights.at(np.linspace(0, last, _RIGHT - _LEFT))]
    frames = sorted({round(last * part / 4) for part in range(5)})
    ticks = {frame / last: str(frame) for frame in frames}
    return _line([factor for _, factor in weights.points], line, ticks, "frame")


def _line(
    factors: Sequence[float], line: Sequence[float], ticks: Mapping[float, str], words: str
) -> RGB:
    """Draw one value for each column of the plot.

    factors: what the scale holds besides 0 and 1. ticks: texts by their part of the width. words:
    what the ticks are.
    """
    image, draw, scale = _axes(factors)
    draw.line([(_LEFT + i, _y(value, scale)) for i, value in enumerate(line)], fill=_INK, width=3)
    for part, text in ticks.items():
        x = _LEFT + (_RIGHT - _LEFT) * part
        draw.text((x, _BOTTOM + 6), text, fill=_TEXT, anchor="ma")
    draw.text(((_LEFT + _RIGHT) / 2, _BOTTOM + 20), words, fill=_TEXT, anchor="ma")
    return np.asarray(image)


_NAMES = {"input": "down", "middle": "middle", "output": "up"}


def _axes(values: Sequence[float]) -> tuple[Image.Image, ImageDraw.ImageDraw, tuple[float, float]]:
    """Return an empty plot whose scale holds 0, 1 and all values, and that scale."""
    low, high = min(0.0, *values), max(1.0, *values)
    image = Image.new("RGB", (WIDTH, HEIGHT), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for value in sorted({low, 0.0, 1.0, high}):
        y = _y(value, (low, high))
        draw.line((_LEFT, y, _RIGHT, y), fill=_GRID)
        draw.text((_LEFT - 6, y), f"{value:g}", fill=_TEXT, anchor="rm")
    return image, draw, (low, high)


def _y(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return _BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP)
