"""The 106 landmarks of a face: their layout, and how IdentityNet for SD1.5 is shown them.

insightface's model `2d106det` finds them. Their order is its own: 0 is the tip of the chin, up to
16 the left half of the contour, up to 32 the right one, up to 51 the left eye and brow, up to 71
the mouth, up to 86 the nose, up to 105 the right eye and brow; left and right as seen in the
picture. Colours and size of the dots are those of the one public retraining of InstantID for SD1.5
(TheDenk/InstantID-SD1.5).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import kind_of, size_of
from .errors import WrongInputError
from .libraries import opencv

COUNT = 106
RADIUS = 3  # pixels of a dot

# Where each part of the face ends, and its colour, RGB: contour, left eye and brow, mouth, nose,
# right eye and brow.
PARTS = (
    (33, (0, 255, 255)),
    (52, (255, 0, 0)),
    (72, (255, 255, 0)),
    (87, (0, 0, 255)),
    (106, (0, 255, 0)),
)

# Landmarks of the left half of a face, and at the same place those of the right half that a
# mirror brings there; what is in neither lies in the middle. Read off insightface's own picture of
# the layout (alignment/coordinate_reg) and its usual reduction to 68 points, which has a mirror
# image of its own.
_LEFT = (
    *range(1, 17),
    *(33, 34, 35, 36, 37, 38, 39, 40, 41, 42),
    *(43, 44, 45, 46, 47, 48, 49, 50, 51),
    *(52, 54, 55, 56, 63, 64, 65, 66),
    *range(75, 80),
)
_RIGHT = (
    *range(17, 33),
    *(87, 88, 93, 91, 90, 92, 89, 94, 96, 95),
    *(101, 100, 99, 97, 98, 105, 104, 102, 103),
    *(61, 57, 58, 59, 67, 68, 69, 70),
    *range(81, 86),
)

Landmarks = NDArray[np.float32]  # (106, 2), x then y in pixels


def _mirror_order() -> NDArray[np.intp]:
    order = np.arange(COUNT)
    order[[*_LEFT, *_RIGHT]] = [*_RIGHT, *_LEFT]
    return order


MIRRORED = _mirror_order()  # (106,): which landmark stands at each place of a mirrored face


def checked_landmarks(landmarks: ArrayLike) -> Landmarks:
    """Return landmarks as (106, 2) float32, if they are that many and finite; else WrongInputError.

    landmarks: x then y in pixels.
    """
    try:
        points = np.asarray(landmarks, np.float32)
    except (TypeError, ValueError):
        raise WrongInputError(_refusal(kind_of(landmarks))) from None
    if points.shape != (COUNT, 2):
        raise WrongInputError(_refusal(f"of the size {size_of(points.shape)}"))
    if not np.isfinite(points).all():
        raise WrongInputError(_refusal("numbers that are not finite (NaN or infinity)"))
    return points


def _refusal(found: str) -> str:
    return (
        f"A face's landmarks are {found}; wanted {COUNT} times x and y in pixels. Find them anew "
        "with `landmarks` switched on in Face Keypoints."
    )


def mirrored_landmarks(landmarks: Landmarks, width: int) -> Landmarks:
    """Return the landmarks of a picture, `width` pixels wide, whose left and right changed places.

    They keep their order as seen in the picture, so that every part keeps its colour.
    """
    flipped = landmarks[MIRRORED] * np.array([-1, 1], np.float32) + np.array([width - 1, 0])
    return flipped.astype(np.float32)


def draw_landmarks(canvas: NDArray[np.uint8], landmarks: ArrayLike, scale: float) -> None:
    """Draw a face's landmarks over what is there, as filled dots at full brightness.

    canvas: (H, W, 3) uint8 RGB, which is changed. landmarks: (106, 2), x then y in its pixels, of
    which fractions are cut off; dots off the canvas are, too. scale: how much larger than RADIUS.
    Raises WrongInputError, MissingDependencyError without OpenCV.
    """
    cv2 = opencv("Keypoints are drawn")
    points: list[tuple[float, float]] = checked_landmarks(landmarks).tolist()
    radius = landmark_radius(scale)
    for (x, y), colour in zip(points, _colours(), strict=True):
        cv2.circle(canvas, (int(x), int(y)), radius, colour, -1)


def landmark_radius(scale: float) -> int:
    """Return the radius of a landmark's dot in pixels, at a drawing scale."""
    return max(1, round(RADIUS * scale))


def _colours() -> Iterator[tuple[int, int, int]]:
    """The colour of every landmark, in their order."""
    begin = 0
    for end, colour in PARTS:
        for _ in range(begin, end):
            yield colour
        begin = end
