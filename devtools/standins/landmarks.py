"""The stand-in 2d106det: the 106 landmarks of a drawn face, read off its colours.

A hand-made ONNX graph with the real one's name and signature. It gets the crop that insightface
makes: 192 x 192 pixels, the box of the face in the middle, 128 of them large. Planes laid through
red and green of a window in the middle tell where the face is, how large and how it is turned, and
`drawing.LANDMARKS` are placed on it. Of what is no drawn face it takes the crop for granted: an
upright face in the middle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import drawing
from .graph import Graph

MODEL = "2d106det.onnx"
INPUT, OUTPUT = "data", "fc1"
SIDE = 192
WINDOW = 41  # pixels a side, around the pixel in the middle
FACE = 128.0  # height of an upright face in the crop
SMALLEST, LARGEST = 80.0, 220.0  # heights of drawn faces that are believed


def make_landmark_model(path: Path) -> None:
    """Write the model: (1, 3, 192, 192) float, (RGB - 127.5) / 128, to (1, 212).

    What comes out is x and y of each landmark in turn, -1 to 1 over the crop.
    """
    graph = Graph()
    bytes_ = graph.add(graph.mul(INPUT, 128.0), 127.5)
    first = (SIDE - WINDOW + 1) // 2
    corners = [[first, first], [first + WINDOW, first + WINDOW], [2, 3]]
    window = graph.op("Slice", bytes_, *(graph.constant(c, np.int64) for c in corners))
    flat = graph.reshape(window, [1, 3 * WINDOW * WINDOW])
    fitted = graph.op("MatMul", flat, graph.constant(_fit()))
    red, green, *slopes = graph.ops("Split", 6, fitted, graph.constant([1] * 6, np.int64), axis=1)
    u, v = (
        graph.div(graph.sub(colour, drawing.COLOUR_MIDDLE), drawing.COLOUR_SPAN)
        for colour in (red, green)
    )
    ux, uy, vx, vy = (graph.div(slope, drawing.COLOUR_SPAN) for slope in slopes)
    hand = graph.op("Sign", graph.sub(graph.mul(ux, vy), graph.mul(uy, vx)))  # -1: mirrored
    ux, uy, u = (graph.mul(one, hand) for one in (ux, uy, u))
    cos, sin = graph.mul(graph.add(ux, vy), 0.5), graph.mul(graph.sub(uy, vx), 0.5)
    inverse_area = graph.add(graph.square(cos), graph.square(sin), 1e-9)
    shear = graph.add(graph.square(graph.sub(ux, vy)), graph.square(graph.add(uy, vx)))
    is_face = graph.mul(
        graph.above(inverse_area, LARGEST**-2),
        graph.below(inverse_area, SMALLEST**-2),
        graph.below(shear, graph.mul(inverse_area, 0.02)),
    )
    scaled = [graph.div(part, inverse_area) for part in (cos, sin)]
    x, y = _placed(graph, u, v, *scaled)
    upright = _placed(graph, *(graph.constant([[number]]) for number in (0.0, 0.0, FACE, 0.0)))
    points = [
        graph.add(other, graph.mul(is_face, graph.sub(own, other)))
        for own, other in zip((x, y), upright, strict=True)
    ]  # (1, 106) each, from the middle in pixels
    stacked = graph.concat([graph.reshape(one, [1, 106, 1]) for one in points], axis=2)
    numbers = graph.div(graph.reshape(stacked, [1, 212]), SIDE / 2)
    graph.save(path, {INPUT: [1, 3, SIDE, SIDE]}, {OUTPUT: (numbers, [1, 212])})


def _placed(graph: Graph, u: str, v: str, across: str, aside: str) -> tuple[str, str]:
    """Return x and y of every landmark (1, 106), in pixels from the middle of the crop.

    u, v: what lies in the middle. across, aside: a face's height, times the cosine and sine of its
    angle.
    """
    each_u, each_v = (graph.constant(column[None]) for column in drawing.LANDMARKS.T)
    du, dv = graph.sub(each_u, u), graph.sub(each_v, v)
    x = graph.sub(graph.mul(across, du), graph.mul(aside, dv))
    y = graph.add(graph.mul(aside, du), graph.mul(across, dv))
    return x, y


def _fit() -> NDArray[np.float32]:
    """Return (3 * window, 6): mean red, mean green, the slopes of red in x and y, of green too."""
    steps = np.arange(WINDOW) - WINDOW // 2
    mean = np.full((WINDOW, WINDOW), 1 / WINDOW**2)
    slope = mean * steps[None, :] / ((WINDOW**2 - 1) / 12)
    planes = np.zeros((6, 3, WINDOW, WINDOW), np.float32)
    planes[0, 0] = planes[1, 1] = mean
    planes[2, 0] = planes[4, 1] = slope
    planes[3, 0] = planes[5, 1] = slope.T
    return planes.reshape(6, -1).T
