"""Drawn faces: ellipses whose colours say where on the face a pixel lies.

Red grows with u (across the face, along its own axis), green with v (down the face), and blue
completes red and green to a constant that names the person. Any small part of a drawn face thus
tells where the whole face is, at every size and angle, which is what the stand-in detector reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# (u, v) of the five points, in units of the face's height, from its centre: left eye, right eye,
# nose, left and right mouth corner as seen in the picture. Close to the recogniser's template.
POINTS = np.array(
    [(-0.17, -0.12), (0.17, -0.12), (0.0, 0.075), (-0.14, 0.27), (0.14, 0.27)], np.float32
)
HALF_WIDTH, HALF_HEIGHT = 0.4, 0.5  # of the ellipse, in units of the face's height
COLOUR_MIDDLE, COLOUR_SPAN = 128.0, 200.0  # red = middle + span * u
PERSON_BASE, PERSON_STEP, PERSONS = 232.0, 6.0, 8  # blue + (red + green) / 2 = base + step * person
# Of the 106 landmarks of a drawn face, part by part in insightface's order: how many, (u, v) of the
# middle of an ellipse, and its half axes. No two lie in one place.
LANDMARK_PARTS = (
    (33, (0.0, 0.0), (0.38, 0.48)),  # contour
    (10, (-0.17, -0.12), (0.07, 0.03)),  # left eye
    (9, (-0.17, -0.22), (0.1, 0.025)),  # left brow
    (20, (0.0, 0.27), (0.14, 0.06)),  # mouth
    (15, (0.0, 0.03), (0.06, 0.1)),  # nose
    (10, (0.17, -0.12), (0.07, 0.03)),  # right eye
    (9, (0.17, -0.22), (0.1, 0.025)),  # right brow
)


def _landmarks() -> NDArray[np.float32]:
    points: list[tuple[float, float]] = []
    for count, (u, v), (across, down) in LANDMARK_PARTS:
        turns = (2 * math.pi * n / count for n in range(count))
        points += [(u + across * math.sin(turn), v + down * math.cos(turn)) for turn in turns]
    return np.array(points, np.float32)


LANDMARKS = _landmarks()  # (106, 2): (u, v)


@dataclass(frozen=True)
class DrawnFace:
    """One face to draw: its centre and height in pixels (x, y), angle in degrees, clockwise.

    person: 0 to 7; each has its own face embedding.
    """

    x: float
    y: float
    height: float
    angle: float = 0.0
    person: int = 0

    @property
    def kps(self) -> NDArray[np.float32]:
        """(5, 2) float32, x then y in pixels; pixel centres are whole numbers."""
        return self._placed(POINTS)

    @property
    def landmarks(self) -> NDArray[np.float32]:
        """(106, 2) float32, x then y in pixels, in the order of insightface's 2d106det."""
        return self._placed(LANDMARKS)

    @property
    def box(self) -> NDArray[np.float32]:
        """(4,) float32: left, top, right, bottom of the ellipse in pixels."""
        cos, sin = self._axes()
        half_x = self.height * math.hypot(HALF_WIDTH * cos, HALF_HEIGHT * sin)
        half_y = self.height * math.hypot(HALF_WIDTH * sin, HALF_HEIGHT * cos)
        corners = (self.x - half_x, self.y - half_y, self.x + half_x, self.y + half_y)
        return np.array(corners, np.float32)

    def _placed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        cos, sin = self._axes()
        u, v = points[:, 0], points[:, 1]
        x = self.x + self.height * (cos * u - sin * v)
        y = self.y + self.height * (sin * u + cos * v)
        return np.stack([x, y], axis=1).astype(np.float32)

    def _axes(self) -> tuple[float, float]:
        radians = math.radians(self.angle)
        return math.cos(radians), math.sin(radians)


def draw_faces(
    faces: Sequence[DrawnFace],
    width: int,
    height: int,
    background: tuple[int, int, int] | NDArray[np.uint8] = (90, 110, 130),
) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 RGB with the faces on it, later ones in front.

    background: one RGB colour or a picture of that size. A face is drawn whole or cut by the edge.
    """
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.asarray(background, np.uint8)
    for face in faces:
        _draw(picture, face)
    return picture


def _draw(picture: NDArray[np.uint8], face: DrawnFace) -> None:
    if not 0 <= face.person < PERSONS:
        raise ValueError(f"person is {face.person}; wanted 0 to {PERSONS - 1}")
    cos, sin = face._axes()
    left, top, right, bottom = (max(0, math.floor(side)) for side in face.box.tolist())
    part = picture[top : bottom + 2, left : right + 2]
    y, x = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float32)
    y, x = y + top, x + left
    u = (cos * (x - face.x) + sin * (y - face.y)) / face.height
    v = (cos * (y - face.y) - sin * (x - face.x)) / face.height
    inside = (u / HALF_WIDTH) ** 2 + (v / HALF_HEIGHT) ** 2 <= 1
    red = np.round(COLOUR_MIDDLE + COLOUR_SPAN * u)
    green = np.round(COLOUR_MIDDLE + COLOUR_SPAN * v)
    blue = np.round(PERSON_BASE + PERSON_STEP * face.person - (red + green) / 2)
    colours = np.stack([red, green, blue], axis=-1)
    part[inside] = np.clip(colours[inside], 0, 255).astype(np.uint8)


def landscape(width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 RGB: sky, hills and a meadow, nobody in it."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / height, x / width
    hill = 0.55 + 0.08 * np.sin(7 * x) + 0.04 * np.sin(17 * x + 1)
    sky = np.stack([120 + 90 * y, 160 + 70 * y, 235 - 20 * y], axis=-1)
    ground = np.stack([70 + 60 * y, 120 + 50 * (1 - y), 50 + 20 * y], axis=-1)
    picture = np.where((y < hill)[..., None], sky, ground)
    return np.clip(picture, 0, 255).astype(np.uint8)


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 of independent random colours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
