"""The stand-in antelopev2: detector, recogniser and landmarks, with real names and signatures.

All are hand-made ONNX graphs. The detector reads drawn faces (see `drawing`): it fits planes to
red and green in a window around each anchor, and the two planes tell centre, height and angle of
the face. Where no face is drawn it looks for one real portrait (see `portrait`). The recogniser
turns the aligned crop into 512 numbers that depend on the person. `landmarks` has the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import drawing, landmarks
from .graph import Graph, Prediction
from .portrait import Portrait

DETECTOR = "scrfd_10g_bnkps.onnx"
RECOGNISER = "glintr100.onnx"
INPUT = "input.1"

# The output names of the real detector, by stride: scores, boxes, keypoints.
OUTPUT_NAMES = {8: ("448", "451", "454"), 16: ("471", "474", "477"), 32: ("494", "497", "500")}
# By stride: width of the window in pixels, smallest and largest face height it is used for.
WINDOWS = {8: (9, 24.0, 90.0), 16: (21, 60.0, 210.0), 32: (41, 110.0, 2000.0)}
# As with SCRFD, faces that are too large for its anchors lose their score.
LARGEST_SURE, LARGEST_SEEN = 400.0, 480.0
PERSON_MIDDLE = 256.0
RESIDUAL_LIMIT = 1e-4  # mean square distance from the fitted plane, in units of u
PERSON_VARIANCE_LIMIT = 3.0


def make_pack(folder: Path) -> None:
    """Write the three files into `folder` (antelopev2's place)."""
    make_detector(folder / DETECTOR)
    make_recogniser(folder / RECOGNISER)
    landmarks.make_landmark_model(folder / landmarks.MODEL)


def make_detector(path: Path) -> None:
    """Write the detector: (1, 3, H, W) float, (RGB - 127.5) / 128, to SCRFD's nine outputs."""
    graph = Graph()
    planes = _planes(graph)
    found = {stride: _Anchors(graph, planes, stride) for stride in WINDOWS}
    predictions = {stride: anchors.predict() for stride, anchors in found.items()}
    drawn = graph.op("Max", *(graph.op("ReduceMax", p.score) for p in predictions.values()))
    predictions[32] = _or_portrait(graph, predictions[32], graph.above(drawn, 0.0))
    outputs: dict[str, tuple[str, Sequence[int | str]]] = {}
    for kind, width in enumerate((1, 4, 10)):
        for stride, prediction in predictions.items():
            rows = _rows(graph, prediction, stride)[kind]
            outputs[OUTPUT_NAMES[stride][kind]] = (rows, [f"rows_{stride}", width])
    graph.save(path, {INPUT: [1, 3, "height", "width"]}, outputs)


def _or_portrait(graph: Graph, drawn: Prediction, any_drawn: str) -> Prediction:
    """Return the drawn faces of stride 32 where any_drawn (one number) is 1, else the portrait."""
    otherwise = Graph("portrait_")
    portrait = Portrait(otherwise, INPUT).predict(32, drawn.score)
    as_drawn = Graph("drawn_")
    chosen = graph.either(
        any_drawn,
        (as_drawn, as_drawn.concat(drawn.planes, axis=1)),
        (otherwise, otherwise.concat(portrait.planes, axis=1)),
    )
    score, *rest = graph.channels(chosen, len(drawn.planes))
    return Prediction(score, rest[:4], rest[4:])


def _rows(graph: Graph, prediction: Prediction, stride: int) -> tuple[str, str, str]:
    """Return scores (n, 1), boxes (n, 4) and keypoints (n, 10), two anchors per place."""
    silent = graph.mul(prediction.score, 0.0)  # the second anchor of each place says nothing

    def flat(planes: list[str], width: int) -> str:
        stacked = graph.op("Transpose", graph.concat(planes, axis=1), perm=[0, 2, 3, 1])
        return graph.reshape(stacked, [-1, width])

    return (
        flat([prediction.score, silent], 1),
        graph.div(flat(prediction.box * 2, 4), float(stride)),
        graph.div(flat(prediction.points * 2, 10), float(stride)),
    )


def _planes(graph: Graph) -> str:
    """Return (1, 6, H, W): u, v, person and their squares, as read from every pixel's colour."""
    bytes_ = graph.add(graph.mul(INPUT, 128.0), 127.5)
    red, green, blue = graph.channels(bytes_, 3)
    u = graph.div(graph.sub(red, drawing.COLOUR_MIDDLE), drawing.COLOUR_SPAN)
    v = graph.div(graph.sub(green, drawing.COLOUR_MIDDLE), drawing.COLOUR_SPAN)
    person = graph.sub(graph.add(blue, graph.mul(graph.add(red, green), 0.5)), PERSON_MIDDLE)
    values = [u, v, person]
    return graph.concat(values + [graph.square(value) for value in values], axis=1)


class _Anchors:
    """What one stride's anchors say: `score`, box and keypoint offsets, planes of (1, 1, h, w)."""

    def __init__(self, graph: Graph, planes: str, stride: int) -> None:
        self.graph, self.stride = graph, stride
        self.window, self.smallest, self.largest = WINDOWS[stride]
        self._fit(planes)
        self._locate()
        self.score = self._score()

    def _fit(self, planes: str) -> None:
        """Fit planes to u and v around each anchor, whose place is a multiple of the stride."""
        graph, size = self.graph, 2 * self.stride + 1
        size = max(size, self.window)
        weights = graph.constant(_fit_kernels(size, self.window))
        before = size // 2
        after = size - self.stride - before
        fitted = graph.op(
            "Conv",
            planes,
            weights,
            kernel_shape=[size, size],
            strides=[self.stride, self.stride],
            pads=[before, before, after, after],
        )
        u, v, person, uu, vv, pp, ux, uy, vx, vy = graph.channels(fitted, 10)
        self.person = person
        self.person_variance = graph.sub(pp, graph.square(person))
        self.residual = graph.add(
            self._residual(u, uu, ux, uy),
            self._residual(v, vv, vx, vy),
        )
        # A mirrored face is a face: turn its u round.
        hand = graph.op("Sign", graph.sub(graph.mul(ux, vy), graph.mul(uy, vx)))
        self.u, self.v = graph.mul(u, hand), v
        self.gradients = graph.mul(ux, hand), graph.mul(uy, hand), vx, vy

    def _residual(self, mean: str, mean_square: str, dx: str, dy: str) -> str:
        graph = self.graph
        spread = (self.window**2 - 1) / 12
        slope = graph.mul(graph.add(graph.square(dx), graph.square(dy)), spread)
        return graph.sub(graph.sub(mean_square, graph.square(mean)), slope)

    def _locate(self) -> None:
        """From the planes to the face: cos, sin and height, and how far it is from a similarity."""
        graph = self.graph
        ux, uy, vx, vy = self.gradients
        cos = graph.mul(graph.add(ux, vy), 0.5)
        sin = graph.mul(graph.sub(uy, vx), 0.5)
        self.inverse_area = graph.add(graph.square(cos), graph.square(sin), 1e-9)
        area = graph.div(1.0, self.inverse_area)
        self.height = graph.op("Sqrt", area)
        self.x_of_u, self.y_of_u = graph.mul(cos, area), graph.mul(sin, area)
        self.shear = graph.add(
            graph.square(graph.sub(ux, vy)),
            graph.square(graph.add(uy, vx)),
        )

    def _score(self) -> str:
        graph = self.graph
        last_person = drawing.PERSON_BASE + drawing.PERSON_STEP * (drawing.PERSONS - 1)
        tests = (
            graph.below(self.residual, RESIDUAL_LIMIT),
            graph.below(self.person_variance, PERSON_VARIANCE_LIMIT),
            graph.above(self.person, drawing.PERSON_BASE - PERSON_MIDDLE - 3),
            graph.below(self.person, last_person - PERSON_MIDDLE + 3),
            graph.below(self.shear, graph.mul(self.inverse_area, 0.02)),
            graph.above(self.height, self.smallest),
            graph.below(self.height, self.largest),
        )
        distance = graph.op("Sqrt", graph.add(graph.square(self.u), graph.square(self.v)))
        middle = graph.sub(0.95, graph.mul(distance, 0.3))
        small = graph.div(self.height, graph.add(self.height, 4.0))
        rest = graph.div(graph.sub(LARGEST_SEEN, self.height), LARGEST_SEEN - LARGEST_SURE)
        large = graph.op("Clip", rest, 0.0, 1.0)
        return graph.mul(middle, small, large, *tests)

    def _offset(self, u: float, v: float) -> tuple[str, str]:
        """Return x and y of the face's point (u, v) from the anchor, in pixels."""
        graph = self.graph
        du, dv = graph.sub(u, self.u), graph.sub(v, self.v)
        x = graph.sub(graph.mul(self.x_of_u, du), graph.mul(self.y_of_u, dv))
        y = graph.add(graph.mul(self.y_of_u, du), graph.mul(self.x_of_u, dv))
        return x, y

    def _box(self) -> list[str]:
        """Distances from the anchor to the ellipse's left, top, right and bottom, in pixels."""
        graph = self.graph
        x, y = self._offset(0.0, 0.0)
        half_x = self._half(self.x_of_u, self.y_of_u)
        half_y = self._half(self.y_of_u, self.x_of_u)
        return [
            graph.sub(half_x, x),
            graph.sub(half_y, y),
            graph.add(half_x, x),
            graph.add(half_y, y),
        ]

    def _half(self, across: str, down: str) -> str:
        graph = self.graph
        wide = graph.square(graph.mul(across, drawing.HALF_WIDTH))
        high = graph.square(graph.mul(down, drawing.HALF_HEIGHT))
        return graph.op("Sqrt", graph.add(wide, high))

    def predict(self) -> Prediction:
        points = [value for u, v in drawing.POINTS for value in self._offset(float(u), float(v))]
        return Prediction(self.score, self._box(), points)


def _fit_kernels(size: int, window: int) -> NDArray[np.float32]:
    """Return (10, 6, size, size): six means and the slopes of u and v in x and y."""
    steps = np.arange(size) - size // 2
    inside = (np.abs(steps) <= window // 2).astype(np.float64)
    mean = np.outer(inside, inside) / window**2
    slope = mean * (steps * inside)[None, :] / ((window**2 - 1) / 12)
    kernels = np.zeros((10, 6, size, size), np.float32)
    for i in range(6):
        kernels[i, i] = mean
    for out, (channel, kernel) in enumerate(
        [(0, slope), (0, slope.T), (1, slope), (1, slope.T)], start=6
    ):
        kernels[out, channel] = kernel
    return kernels


def make_recogniser(path: Path) -> None:
    """Write the recogniser: (n, 3, 112, 112) float, (RGB - 127.5) / 127.5, to (n, 512).

    Random cosine features of the crop's middle colour sum (the person of a drawn face) and,
    weakly, of the whole crop in 7 x 7 cells. Norms are near 22, as the real one's are.
    """
    graph = Graph()
    random = np.random.default_rng(2024)
    bytes_ = graph.add(graph.mul(INPUT, 127.5), 127.5)
    cells = graph.op("AveragePool", bytes_, kernel_shape=[16, 16], strides=[16, 16])
    crop = graph.reshape(cells, [-1, 3 * 49])
    middle = np.zeros((3, 7, 7), np.float32)
    middle[:, 2:5, 2:5] = np.array([0.5, 0.5, 1.0])[:, None, None] / 9
    by_person = middle.reshape(-1, 1) * random.normal(0, 0.5, (1, 512))
    by_crop = random.normal(0, 0.0005, (3 * 49, 512))
    weights = graph.constant(by_person + by_crop)
    phases = graph.add(graph.op("MatMul", crop, weights), graph.constant(_phases(random)))
    embedding = graph.mul(graph.op("Cos", phases), 22.0 / 16.0)
    graph.save(path, {INPUT: ["n", 3, 112, 112]}, {"1333": (embedding, ["n", 512])})


def _phases(random: np.random.Generator) -> NDArray[np.float32]:
    return random.uniform(0, 2 * np.pi, (1, 512)).astype(np.float32)
