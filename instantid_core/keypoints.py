"""Five facial keypoints: what they are, and the picture IdentityNet is shown.

The drawing is the one of the official repository (`draw_kps` of its pipeline); that of SD1.5 is
the one of its retraining: the same dimmed, and `landmarks` over it. Getting keypoints onto another
canvas is the work of `fitting`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import kind_of, size_of
from .errors import WrongInputError
from .landmarks import Landmarks, draw_landmarks
from .libraries import opencv

# RGB of left eye, right eye, nose, left and right mouth corner.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
NOSE = 2
LIMBS = (0, 1, 3, 4)  # each a stick from this point to the nose
LIMB_BRIGHTNESS = 0.6
DOT_RADIUS = 10
STICK_HALF_WIDTH = 4


@dataclass(frozen=True)
class DrawingStyle:
    """How keypoints are drawn for one family's IdentityNet.

    long_side: least and most pixels of the pictures it was trained on and is demonstrated with; on
    these dots and sticks have their official size. brightness: of the five points, beside the
    official drawing. has_landmarks: whether the 106 landmarks are drawn over them.
    """

    long_side: tuple[int, int]
    brightness: float = 1.0
    has_landmarks: bool = False


SDXL_DRAWING = DrawingStyle((1024, 1280))
SD15_DRAWING = DrawingStyle((512, 768), brightness=0.6, has_landmarks=True)
DRAWINGS = {"SDXL": SDXL_DRAWING, "SD1.5": SD15_DRAWING}

NO_KEYPOINTS = (
    "There are no keypoints, so nothing says where the face is. Connect Face Keypoints or Place "
    "Keypoints."
)


@dataclass(frozen=True, eq=False)
class FacePoints:
    """One face: where its five points and its box are, in pixels of the picture they came from.

    kps: (5, 2) float32, x then y: left eye, right eye, nose, left and right mouth corner as seen
    in the picture.
    box: (4,) float32, left, top, right, bottom; the detector's face box.
    track: the number of the person it was followed as through a video; None where nobody did.
    landmarks: (106, 2) float32, x then y, in the order of `landmarks`; None where they were not
    asked for, or are not known any more.
    """

    kps: NDArray[np.float32]
    box: NDArray[np.float32]
    track: int | None = None
    landmarks: Landmarks | None = None


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The faces of every frame of a picture batch, with the size of the picture they were found in.

    width, height: pixels of the source picture.
    frames: one tuple of faces per frame; an empty tuple is a frame without a face.
    cuts: the frames at which another shot of a video begins, ascending; 0 is not among them.
    """

    width: int
    height: int
    frames: tuple[tuple[FacePoints, ...], ...]
    cuts: tuple[int, ...] = ()

    @property
    def faces(self) -> tuple[FacePoints, ...]:
        """The faces of all frames."""
        return tuple(face for frame in self.frames for face in frame)


def checked(keypoints: object) -> Keypoints:
    """Return keypoints if they are of this pack and hold a frame; WrongInputError otherwise."""
    if keypoints is None:
        raise WrongInputError(NO_KEYPOINTS)
    if not isinstance(keypoints, Keypoints):
        raise WrongInputError(
            f"The keypoints are {kind_of(keypoints)}. FACE_KEYPOINTS of this pack are "
            "wanted: connect Face Keypoints or Transform Keypoints."
        )
    if not keypoints.frames:
        raise WrongInputError(
            "The keypoints hold no frame at all. Connect keypoints of at least one picture."
        )
    return keypoints


def only_frames(keypoints: Keypoints, frames: Sequence[int] | None) -> Keypoints:
    """Return keypoints with some of their frames, in that order; None is all of them."""
    if frames is None:
        return keypoints
    return replace(keypoints, frames=tuple(keypoints.frames[frame] for frame in frames), cuts=())


def drawing_scale(width: int, height: int, style: DrawingStyle = SDXL_DRAWING) -> float:
    """Return how much larger than officially dots and sticks are drawn on a canvas.

    1 while the long side is within the official sizes, 1024 to 1280 pixels for SDXL; beyond, in
    proportion to the long side, so that a smaller or larger picture shows the same drawing at its
    own size.
    """
    long_side = max(width, height)
    smallest, largest = style.long_side
    return long_side / min(max(long_side, smallest), largest)


def draw_keypoints(
    kps: ArrayLike,
    width: int,
    height: int,
    *,
    scale: float | None = None,
    style: DrawingStyle = SDXL_DRAWING,
    landmarks: Sequence[Landmarks | None] = (),
) -> NDArray[np.uint8]:
    """Draw faces' keypoints on black, as the official pipeline does, or as `style` says.

    kps: (5, 2) for one face or (F, 5, 2) for several, x then y in pixels of the canvas; points
    off the canvas are cut off. Of several faces the larger is drawn over the smaller.
    width, height: pixels of the canvas, which is the size of the picture to be made.
    scale: size of dots and sticks; None is `drawing_scale`, 1 what they are officially.
    landmarks: of each face (106, 2), where they are known; drawn over all five points, and only
    where the style has them.
    Returns (H, W, 3) uint8 RGB. Raises WrongInputError for another shape or numbers that are not
    finite, MissingDependencyError without OpenCV.
    """
    faces = _checked(kps)
    canvas = np.zeros((height, width, 3), np.uint8)
    size = drawing_scale(width, height, style) if scale is None else scale
    order = sorted(range(len(faces)), key=lambda number: _extent(faces[number]))
    for number in order:
        _draw_face(canvas, faces[number], size)
    if style.brightness != 1.0:
        canvas = (np.arange(256) * style.brightness).astype(np.uint8)[canvas]
    known = landmarks if style.has_landmarks else ()
    for number in order:
        own = known[number] if number < len(known) else None
        if own is not None:
            draw_landmarks(canvas, own, size)
    return canvas


def draw_frames(keypoints: Keypoints, style: DrawingStyle = SDXL_DRAWING) -> NDArray[np.uint8]:
    """Draw every frame on a canvas of the keypoints' own size: (B, H, W, 3) uint8 RGB.

    A frame without a face is black.
    """
    return np.stack(
        [
            draw_keypoints(
                np.array([face.kps for face in frame], np.float32).reshape(-1, 5, 2),
                keypoints.width,
                keypoints.height,
                style=style,
                landmarks=[face.landmarks for face in frame],
            )
            for frame in keypoints.frames
        ]
    )


def dot_radius(scale: float) -> int:
    """Return the radius of a dot in pixels, at a drawing scale."""
    return max(1, round(DOT_RADIUS * scale))


def stick_half_width(scale: float) -> int:
    """Return half the width of a stick in pixels, at a drawing scale."""
    return max(1, round(STICK_HALF_WIDTH * scale))


def _checked(kps: ArrayLike) -> NDArray[np.float32]:
    """Return keypoints as (F, 5, 2) float32."""
    points = np.asarray(kps, np.float32)
    if points.ndim == 2:
        points = points[None]
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise WrongInputError(
            f"Keypoints of the size {size_of(points.shape)} cannot be drawn: five "
            "points of x and y per face are wanted, 5 x 2 or faces x 5 x 2."
        )
    if not np.isfinite(points).all():
        raise WrongInputError(
            "Keypoints hold numbers that are not finite (NaN or infinity). Make them anew from "
            "a picture with a visible face."
        )
    return points


def _extent(kps: NDArray[np.float32]) -> float:
    """How large a face is: the longer side of the box around its points."""
    return float((kps.max(axis=0) - kps.min(axis=0)).max())


def _draw_face(canvas: NDArray[np.uint8], kps: NDArray[np.float32], scale: float) -> None:
    """Draw one face over what is there."""
    cv2 = opencv("Keypoints are drawn")
    half_width, radius = stick_half_width(scale), dot_radius(scale)
    for point in LIMBS:
        colour = [int(channel * LIMB_BRIGHTNESS) for channel in COLOURS[point]]
        centre, half_length, angle = stick(kps[point], kps[NOSE])
        half = (half_length, half_width)
        cv2.fillConvexPoly(canvas, cv2.ellipse2Poly(centre, half, angle, 0, 360, 1), colour)
    dots: list[tuple[float, float]] = kps.tolist()
    for (x, y), colour in zip(dots, COLOURS, strict=True):
        cv2.circle(canvas, (int(x), int(y)), radius, colour, -1)


def stick(start: NDArray[np.float32], end: NDArray[np.float32]) -> tuple[tuple[int, int], int, int]:
    """Return centre, half length and angle in degrees of the flat ellipse between two points.

    start, end: (2,) pixels. Whole numbers, cut off as officially.
    """
    x, y = np.stack([start, end], axis=1)
    length = ((x[0] - x[1]) ** 2 + (y[0] - y[1]) ** 2) ** 0.5
    angle = math.degrees(math.atan2(y[0] - y[1], x[0] - x[1]))
    return (int(x.mean()), int(y.mean())), int(length / 2), int(angle)
