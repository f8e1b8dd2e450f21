"""The part of the stand-in detector that finds the face of a real portrait, roughly.

A picture is brought to several small grids. At each cell it asks how much more skin colour is
inside a face's ellipse than around it, and how much darker and less skin-coloured the places of
the eyes are. The best answer is the face, if it is good enough. It is meant to give plausible
places on a portrait, and nothing on pictures of other things; it recognises nobody.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import drawing
from .graph import Graph, Prediction

CELLS = 16  # a face's height in cells
MARGIN = 9  # cells between a face's middle and the edge of the picture
GRIDS = (96, 77, 61, 49, 39, 31)  # cells along the picture: faces of 17 % to 52 % of it
# Skin in shares of red and green of the colour sum: middle and spread, over many skins and lights.
RED_SHARE, RED_SPREAD = 0.40, 0.03
GREEN_SHARE, GREEN_SPREAD = 0.322, 0.012
DARKEST, DARK_SPREAD = 240.0, 30.0  # of the colour sum
LEAST_SKIN, LEAST_EYES = 0.35, 0.03
LARGEST = 480.0  # height in pixels of the detector's input


class Portrait:
    """The one best face of the whole picture: scalars x, y, height (pixels) and score."""

    def __init__(self, graph: Graph, picture: str) -> None:
        self.graph = graph
        maps = self._maps(graph.add(graph.mul(picture, 128.0), 127.5))
        size = graph.op("Cast", graph.op("Shape", picture), to=1)
        _, _, rows, columns = graph.ops("Split", 4, size, graph.constant([1] * 4, np.int64), axis=0)
        self._choose(maps, rows, columns)

    def _maps(self, bytes_: str) -> str:
        """Return (1, 2, H, W): how skin-like and how bright each pixel is, 0 to 1."""
        graph = self.graph
        red, green, blue = graph.channels(bytes_, 3)
        total = graph.add(red, green, blue, 1.0)
        red_off = graph.div(graph.sub(graph.div(red, total), RED_SHARE), RED_SPREAD)
        green_off = graph.div(graph.sub(graph.div(green, total), GREEN_SHARE), GREEN_SPREAD)
        distance = graph.add(graph.square(red_off), graph.square(green_off))
        lit = graph.op("Sigmoid", graph.div(graph.sub(total, DARKEST), DARK_SPREAD))
        skin = graph.mul(graph.op("Exp", graph.mul(distance, -0.5)), lit)
        luma = graph.add(graph.mul(red, 0.3), graph.mul(green, 0.59), graph.mul(blue, 0.11))
        return graph.concat([skin, graph.div(luma, 255.0)], axis=1)

    def _choose(self, maps: str, rows: str, columns: str) -> None:
        graph = self.graph
        answers = [graph.reshape(self._answer(maps, grid), [-1]) for grid in GRIDS]
        value = graph.concat(answers, axis=0)
        best = graph.op("ArgMax", value, axis=0, keepdims=1)

        def at_best(values: str) -> str:
            return graph.op("Gather", values, best, axis=0)

        places = [np.mgrid[:grid, :grid].reshape(2, -1).T + 0.5 for grid in GRIDS]
        shares = np.concatenate([p / g for p, g in zip(places, GRIDS, strict=True)])
        heights = np.concatenate([np.full(grid**2, CELLS / grid) for grid in GRIDS])
        self.y = graph.sub(graph.mul(at_best(graph.constant(shares[:, 0])), rows), 0.5)
        self.x = graph.sub(graph.mul(at_best(graph.constant(shares[:, 1])), columns), 0.5)
        self.height = graph.mul(at_best(graph.constant(heights)), rows)
        found = at_best(value)
        score = graph.op("Clip", graph.add(graph.mul(found, 0.5), 0.45), 0.0, 0.95)
        self.score = graph.mul(score, graph.above(found, 0.0), graph.below(self.height, LARGEST))

    def _answer(self, maps: str, grid: int) -> str:
        """Return (1, 1, grid, grid): how good a face is at each cell of that grid, 0 for none."""
        graph = self.graph
        target = graph.constant([1, 2, grid, grid], np.int64)
        cells = graph.op("Resize", maps, "", "", target, mode="linear", antialias=1)
        kernels = _kernels()
        reach = kernels.shape[-1] // 2
        how = {"kernel_shape": list(kernels.shape[-2:]), "pads": [reach] * 4}
        asked = graph.op("Conv", cells, graph.constant(kernels), **how)
        skin, eyes = graph.channels(asked, 2)
        whole = np.zeros((1, 1, grid, grid))
        whole[..., MARGIN:-MARGIN, MARGIN:-MARGIN] = 1
        is_face = graph.mul(graph.above(skin, LEAST_SKIN), graph.above(eyes, LEAST_EYES))
        value = graph.add(skin, graph.op("Clip", eyes, 0.0, 0.4))
        return graph.mul(value, is_face, graph.constant(whole))

    def predict(self, stride: int, like: str) -> Prediction:
        """Return what anchors in the shape of the planes `like` say of the face."""
        graph = self.graph
        ones = graph.add(graph.mul(like, 0.0), 1.0)
        x, y = (self._from_anchor(ones, stride, axis) for axis in (3, 2))
        distance = graph.op("Sqrt", graph.add(graph.square(x), graph.square(y)))
        near = graph.below(distance, 0.75 * stride)  # at least one anchor is
        score = graph.mul(self.score, near)
        half_x = graph.mul(self.height, drawing.HALF_WIDTH)
        half_y = graph.mul(self.height, drawing.HALF_HEIGHT)
        box = [graph.sub(half_x, x), graph.sub(half_y, y), graph.add(half_x, x)]
        points = [
            graph.add(offset, graph.mul(self.height, float(part)))
            for point in drawing.POINTS
            for offset, part in zip((x, y), point, strict=True)
        ]
        return Prediction(score, [*box, graph.add(half_y, y)], points)

    def _from_anchor(self, ones: str, stride: int, axis: int) -> str:
        """Distance from each anchor to the face's middle along one axis, in pixels."""
        graph = self.graph
        counted = graph.op("CumSum", ones, graph.constant(axis, np.int64))
        anchors = graph.mul(graph.sub(counted, 1.0), float(stride))
        return graph.sub(self.x if axis == 3 else self.y, anchors)


def _kernels() -> NDArray[np.float32]:
    """Return (2, 2, n, n): skin inside minus around, and face minus eyes in skin and brightness."""
    size = CELLS * 3 // 2 + 1
    steps = (np.arange(size) - size // 2) / CELLS
    u, v = np.meshgrid(steps, steps)
    radius = np.hypot(u / drawing.HALF_WIDTH, v / drawing.HALF_HEIGHT)
    inside = (radius <= 0.95).astype(np.float64)
    # Nothing is asked of the place below the chin: necks are skin.
    around = ((radius > 1.05) & (radius < 1.45) & (v < 0.35)).astype(np.float64)
    eyes = np.zeros_like(u)
    for eye_u, eye_v in drawing.POINTS[:2]:
        eyes += np.exp(-(((u - eye_u) / 0.06) ** 2) - ((v - eye_v) / 0.04) ** 2)
    face = inside * (1 - np.clip(eyes, 0, 1))
    dark = 0.5 * (face / face.sum() - eyes / eyes.sum())
    kernels = np.zeros((2, 2, size, size), np.float32)
    kernels[0, 0] = inside / inside.sum() - around / around.sum()
    kernels[1, 0] = kernels[1, 1] = dark
    return kernels
