"""Affine maps between the pixels of two pictures, with their inverse: of points and of pictures.

Pixel centres are whole numbers, x goes right, y goes down, as in OpenCV and in keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .keypoints import FacePoints
from .libraries import opencv

Values = NDArray[np.float32]  # (H, W, 3)


@dataclass(frozen=True, eq=False)
class Affine:
    """Where each point of one picture lies on another.

    matrix: (2, 3) float64: the linear part, which can be undone, and the shift in pixels.
    """

    matrix: NDArray[np.float64]

    def points(self, points: ArrayLike) -> NDArray[np.float64]:
        """(..., 2), x then y in pixels -> the same shape, in pixels of the other picture."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def face(self, face: FacePoints) -> FacePoints:
        """Return a face on the other picture.

        Its new box is the one around the ellipse in the old box: a face has round corners.
        """
        middle = (face.box[:2] + face.box[2:]) / 2
        half = np.sqrt(self.matrix[:, :2] ** 2 @ ((face.box[2:] - face.box[:2]) / 2) ** 2)
        centre = self.points(middle)
        box = np.concatenate([centre - half, centre + half])
        kps, own = self.points(face.kps), face.landmarks
        return replace(
            face,
            kps=kps.astype(np.float32),
            box=box.astype(np.float32),
            landmarks=None if own is None else self.points(own).astype(np.float32),
        )

    @property
    def scale(self) -> float:
        """Pixels of the other picture for one pixel of this one."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    @property
    def inverse(self) -> Affine:
        """The way back."""
        linear = np.linalg.inv(self.matrix[:, :2]).astype(np.float64)
        return Affine(np.column_stack([linear, -linear @ self.matrix[:, 2]]))

    def then(self, other: Affine) -> Affine:
        """Return this map followed by another one."""
        linear = other.matrix[:, :2] @ self.matrix[:, :2]
        return Affine(np.column_stack([linear, other.points(self.matrix[:, 2])]))


def about(
    centre: NDArray[np.floating[Any]], onto: ArrayLike, scale: float, turn: NDArray[np.float64]
) -> Affine:
    """Return the map that brings `centre` (2,) onto `onto` (2,), scaled and turned about it.

    turn: (2, 2), a rotation. Where it only shifts, it shifts by whole pixels, so that the picture
    is copied as it is.
    """
    linear = turn * scale
    shift = np.asarray(onto, np.float64) - linear @ np.asarray(centre, np.float64)
    if np.array_equal(linear, np.eye(2)):
        shift = np.round(shift)
    return Affine(np.column_stack([linear, shift]))


def nearest_similarity(points: ArrayLike, target: ArrayLike) -> Affine:
    """Return the map that moves, turns and scales points nearest to where they shall be.

    points, target: (n, 2), x then y in pixels. Nearest by the sum of squared distances; points that
    lie all in one place are only moved.
    """
    before, after = np.asarray(points, np.float64), np.asarray(target, np.float64)
    middle, onto = before.mean(axis=0), after.mean(axis=0)
    x, y = (before - middle).T
    u, v = (after - onto).T
    spread = float((x**2 + y**2).sum())
    cos, sin = (x @ u + y @ v, x @ v - y @ u) if spread > 0 else (1.0, 0.0)
    linear = np.array([[cos, -sin], [sin, cos]]) / (spread or 1.0)
    return Affine(np.column_stack([linear, onto - linear @ middle]))


def resizing(source: tuple[int, int], target: tuple[int, int]) -> Affine:
    """Return the map of a picture resized from (width, height) to (width, height), edge to edge."""
    scale = np.array(target, np.float64) / np.array(source, np.float64)
    return Affine(np.column_stack([np.diag(scale), (scale - 1) / 2]))


def shifting(x: float, y: float) -> Affine:
    """Return the map that moves by x to the right and y down."""
    return Affine(np.array([[1.0, 0.0, x], [0.0, 1.0, y]]))


def warp(picture: Values, place: Affine, width: int, height: int) -> Values:
    """Return what `place` makes of a picture on a canvas: one OpenCV warp, bicubic.

    picture: (H, W, 3) float32 -> (height, width, 3). Beyond its edges the picture is continued by
    its outermost pixels. Of a picture that shrinks to less than half, blocks of whole pixels are
    averaged first, so that every pixel counts. No channel leaves the range it has in the picture.
    """
    cv2 = opencv("Faces are cropped and pasted")
    lowest, highest = picture.min(axis=(0, 1)), picture.max(axis=(0, 1))
    block = int(1 / max(place.scale, 1e-6))
    if block > 1:
        picture, place = _averaged(cv2, picture, block), _of_blocks(block).then(place)
    warped = cv2.warpAffine(
        np.ascontiguousarray(picture),
        place.matrix,
        (width, height),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.clip(warped, lowest, highest)


def _averaged(cv2: Any, picture: Values, block: int) -> Values:
    """Average blocks of `block` x `block` pixels; those at the right and below are continued."""
    height, width = picture.shape[:2]
    below, right = -height % block, -width % block
    whole = cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = whole.shape[1] // block, whole.shape[0] // block
    return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)


def _of_blocks(block: int) -> Affine:
    """The map from averaged blocks back to pixels."""
    return resizing((1, 1), (block, block))
