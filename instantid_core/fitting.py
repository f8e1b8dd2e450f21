"""Keypoints onto another canvas: fit, place, transform. Hint, region mask and preview all use this.

Nothing here ever stretches a face: x and y always share one scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks
from .errors import WrongInputError
from .head import Turning, turn_all
from .keypoints import FacePoints, Keypoints
from .landmarks import mirrored_landmarks
from .log import warn

# Below this, a face has fewer pixels than the 112 x 112 crop the face recogniser reads, or about
# 14 x 14 latent cells: too few for a likeness.
SMALL_FACE = 112

FURTHEST = 1_000_000  # pixels: beyond, OpenCV cannot draw

LARGEST_SIDE = 16384  # pixels: the largest that ComfyUI's own nodes make

CANVAS_GRID = 64
CANVAS_SHORT_SIDE = 1024  # of a first step, which only rounds
CANVAS_LONG_SIDE = 1280

STRAIGHT = Turning()

Points = NDArray[np.floating[Any]]


class Fit(str, Enum):
    """How a photo's keypoints get onto a canvas of another aspect ratio.

    CROP: the photo covers the canvas and is cut at its sides, in the middle where the faces allow
    it, beside it where a face would be cut; a face too large for that is made smaller until it is
    whole.
    PAD: the whole photo is on the canvas, with room at its sides.
    """

    CROP = "crop"
    PAD = "pad"

    @classmethod
    def _missing_(cls, value: object) -> Fit:
        raise checks.unknown("fit", value, [mode.value for mode in cls])


def official_canvas(width: int, height: int) -> tuple[int, int]:
    """Return the canvas the official pipeline makes of a photo: (width, height) in pixels.

    The long side is 1280, both sides are multiples of 64, the short side is rounded down.
    Source: `resize_img` of the official repository.
    """
    first = CANVAS_SHORT_SIDE / min(width, height)
    sides = (round(width * first), round(height * first))
    second = CANVAS_LONG_SIDE / max(sides)
    wide, high = (max(1, round(side * second) // CANVAS_GRID) * CANVAS_GRID for side in sides)
    return wide, high


def fit(keypoints: Keypoints, width: int, height: int, mode: Fit = Fit.CROP) -> Keypoints:
    """Return keypoints on a canvas of `width` x `height` pixels; one cut for all frames.

    A canvas of the keypoints' own size changes nothing.
    """
    return _moved(keypoints, width, height, *fit_map(keypoints, width, height, mode))


def fit_map(
    keypoints: Keypoints, width: int, height: int, mode: Fit = Fit.CROP
) -> tuple[float, Points]:
    """Return the scale and the shift (2,) in pixels with which `fit` gets onto a canvas.

    A point of the canvas is the point of the source times the scale, plus the shift.
    """
    _check_canvas(width, height)
    scales = (width / keypoints.width, height / keypoints.height)
    if mode is Fit.PAD:
        scale = min(scales)
        return scale, _centred(keypoints, width, height, scale)
    return _crop(keypoints, width, height, max(scales))


def place(
    keypoints: Keypoints,
    width: int,
    height: int,
    x: float,
    y: float,
    size: float,
    turning: Turning = STRAIGHT,
) -> Keypoints:
    """Return keypoints on a canvas of `width` x `height` pixels with the faces where they are told.

    x, y: where the middle of the faces' common box comes to lie, 0..1 of the canvas' width and
    height. size: the height of that box, as a part of the canvas' height. One move for all frames.
    turning: how far the heads are turned before.
    Raises WrongInputError for a size of 0 or less, or where there is no face to place.
    """
    _check_canvas(width, height)
    x, y, size = checks.number(x, "x"), checks.number(y, "y"), checks.number(size, "size")
    if not size > 0:
        raise WrongInputError(
            f"A face of size {size:g} cannot be placed: a part of the picture's height above 0 is "
            "wanted, 0.4 for a portrait."
        )
    keypoints = turn_all(keypoints, turning)
    box = _common_box(keypoints)
    if box is None:
        raise WrongInputError(
            "The keypoints hold no face that could be placed. Connect keypoints with a face, or "
            "none for a standard face."
        )
    scale = size * height / max(float(box[3] - box[1]), 1e-6)
    middle = (box[:2] + box[2:]) / 2
    offset = np.array([x * width, y * height], np.float32) - middle * scale
    return _moved(keypoints, width, height, scale, offset)


def transform(
    keypoints: Keypoints,
    *,
    mirror: bool = False,
    move_x: float = 0.0,
    move_y: float = 0.0,
    scale: float = 1.0,
    rotate: float = 0.0,
    turning: Turning = STRAIGHT,
) -> Keypoints:
    """Return keypoints mirrored, then turned, then scaled and rotated, then moved.

    mirror: left and right of the picture change places. turning: how far the heads are turned.
    Each face is scaled and rotated about its middle. move_x, move_y: parts of the picture's
    width and height, right and down positive. scale: factor above 0. rotate: degrees, clockwise.
    """
    move_x, move_y = checks.number(move_x, "move_x"), checks.number(move_y, "move_y")
    scale, rotate = checks.number(scale, "scale"), checks.number(rotate, "rotate")
    if not scale > 0:
        raise WrongInputError(
            f"A face cannot be scaled by {scale:g}: a factor above 0 is wanted, 1 leaves it as it "
            "is."
        )
    shift = np.array([move_x * keypoints.width, move_y * keypoints.height], np.float32)

    source = (
        _each(keypoints, lambda face: _mirrored(face, keypoints.width)) if mirror else keypoints
    )
    turned = turn_all(source, turning)
    return _each(turned, lambda face: _turned(face, scale, rotate, shift))


def standard_face(width: int = 1024, height: int = 1024) -> Keypoints:
    """Return an upright face that looks into the camera, in the upper middle of a canvas.

    Its proportions are those of an average face; its box is 0.44 of the canvas' height.
    """
    # In distances between the eyes, from the point between them.
    kps = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.58], [-0.41, 1.15], [0.41, 1.15]], np.float32)
    face = FacePoints(kps, np.array([-1.15, -1.2, 1.15, 1.85], np.float32))
    return place(Keypoints(1, 1, ((face,),)), width, height, x=0.5, y=0.42, size=0.44)


def warn_of_small_faces(fitted: Keypoints, say: Callable[[str], None] = warn) -> None:
    """Warn once if a face on its canvas is too small to become a likeness."""
    sides = [float((face.box[2:] - face.box[:2]).max()) for face in fitted.faces]
    if sides and min(sides) < SMALL_FACE:
        say(
            f"A face drawn for IdentityNet is only {round(min(sides))} pixels large on the "
            f"{fitted.width} x {fitted.height} picture; below {SMALL_FACE} pixels the person is "
            "hardly recognisable. Make the face larger (crop the photo, or use Transform "
            "Keypoints), or make the face in a crop of its own: Crop Face, then Paste Face."
        )


def _each(keypoints: Keypoints, change: Callable[[FacePoints], FacePoints]) -> Keypoints:
    """Change every face of every frame."""
    frames = tuple(tuple(change(face) for face in frame) for frame in keypoints.frames)
    return replace(keypoints, frames=frames)


def _check_canvas(width: int, height: int) -> None:
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise WrongInputError(
            f"A canvas of {width} x {height} pixels cannot hold a picture: both sides must be "
            f"from 1 to {LARGEST_SIDE}."
        )


def _moved(
    keypoints: Keypoints, width: int, height: int, scale: float, offset: Points
) -> Keypoints:
    """Scale and shift every point and box onto a canvas."""

    def moved(face: FacePoints) -> FacePoints:
        corners = face.box.reshape(2, 2) * scale + offset
        return _on_canvas(face, lambda points: points * scale + offset, corners.reshape(4))

    frames = tuple(tuple(moved(face) for face in frame) for frame in keypoints.frames)
    return replace(keypoints, width=width, height=height, frames=frames)


def _on_canvas(face: FacePoints, move: Callable[[Points], Points], box: Points) -> FacePoints:
    """The face, moved; WrongInputError if it lies so far away that nothing can be drawn there.

    move: what becomes of points (n, 2).
    """
    kps = move(face.kps)
    landmarks = None if face.landmarks is None else move(face.landmarks)
    moved = [points for points in (kps, box, landmarks) if points is not None]
    if not all(np.abs(points).max() <= FURTHEST for points in moved):
        raise WrongInputError(
            f"A face lies more than {FURTHEST:,} pixels off the picture, or its points are not "
            "numbers. Move and scale it less."
        )
    return replace(
        face,
        kps=kps.astype(np.float32),
        box=box.astype(np.float32),
        landmarks=None if landmarks is None else landmarks.astype(np.float32),
    )


def _centred(keypoints: Keypoints, width: int, height: int, scale: float) -> Points:
    """The shift that brings the middle of the photo to the middle of the canvas."""
    return np.array(
        [(width - keypoints.width * scale) / 2, (height - keypoints.height * scale) / 2],
        np.float32,
    )


def _crop(keypoints: Keypoints, width: int, height: int, cover: float) -> tuple[float, Points]:
    """The scale and shift of a cut that keeps the faces whole."""
    box = _common_box(keypoints)
    photo = np.array([keypoints.width, keypoints.height] * 2, np.float32)
    if box is None:
        return cover, _centred(keypoints, width, height, cover)
    box = box.clip(np.zeros(4, np.float32), photo)  # what the photo cut off already is gone
    canvas = np.array([width, height], np.float32)
    scale = min(cover, *(canvas / np.maximum(box[2:] - box[:2], 1e-6)).tolist())
    offset = _centred(keypoints, width, height, scale)
    # Where the faces' box sticks out, shift by what is missing; it is never larger than the canvas.
    offset += np.maximum(-(box[:2] * scale + offset), 0)
    offset -= np.maximum(box[2:] * scale + offset - canvas, 0)
    return scale, offset


def _common_box(keypoints: Keypoints) -> Points | None:
    """The box around all faces of all frames; None without a face."""
    if not keypoints.faces:
        return None
    boxes = np.array([face.box for face in keypoints.faces])
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _mirrored(face: FacePoints, width: int) -> FacePoints:
    """Left and right of the picture changed; the points keep their order as seen in it."""
    kps = face.kps[[1, 0, 2, 4, 3]] * np.array([-1, 1], np.float32) + np.array([width - 1, 0])
    left, top, right, bottom = face.box
    box = np.array([width - 1 - right, top, width - 1 - left, bottom], np.float32)
    own = face.landmarks
    landmarks = None if own is None else mirrored_landmarks(own, width)
    return replace(face, kps=kps.astype(np.float32), box=box, landmarks=landmarks)


def _turned(face: FacePoints, scale: float, rotate: float, shift: Points) -> FacePoints:
    """Scale and rotate about the middle of the face's box, then shift.

    The new box is the one around the ellipse in the old box: a face has round corners.
    """
    middle = (face.box[:2] + face.box[2:]) / 2
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    turn = np.array([[cos, -sin], [sin, cos]]) * scale
    half = np.sqrt((turn**2) @ ((face.box[2:] - face.box[:2]) / 2) ** 2)
    box = np.concatenate([middle + shift - half, middle + shift + half])
    return _on_canvas(face, lambda points: (points - middle) @ turn.T + middle + shift, box)
