"""Five facial keypoints: hold, draw, fit, transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FacePoints:
    """One face: where its five points and its box are, in pixels of the picture they came from.

    kps: (5, 2) float32, x then y: left eye, right eye, nose, left and right mouth corner as seen
    in the picture.
    box: (4,) float32, left, top, right, bottom; the detector's face box.
    """

    kps: NDArray[np.float32]
    box: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The faces of every frame of a picture batch, with the size of the picture they were found in.

    width, height: pixels of the source picture.
    frames: one tuple of faces per frame; an empty tuple is a frame without a face.
    """

    width: int
    height: int
    frames: tuple[tuple[FacePoints, ...], ...]
