"""Pictures with every face found marked: box, five points, number and score."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..images import Picture
from .records import FoundFace
from .runtime import import_package

SMALLEST, LARGEST = 512, 1280  # long side of a preview, in pixels
MANY, LARGEST_OF_MANY = 8, 768  # so that the preview of a video does not fill the memory
ALL_PIXELS = 1 << 25  # of all previews of a batch at most: 384 MiB as floats
OTHER, CHOSEN = (255, 190, 60), (60, 220, 60)  # BGR
POINTS = ((60, 60, 255), (60, 255, 60), (255, 60, 60), (60, 255, 255), (255, 60, 255))  # BGR
DARK, LIGHT = (20, 20, 20), (255, 255, 255)


def draw_preview(
    picture: Picture,
    faces: Sequence[FoundFace],
    chosen: Collection[int],
    note: str = "",
    largest: int = LARGEST,
) -> Picture:
    """Return the picture, brought to a size at which marks can be read, with the faces marked.

    picture: (H, W, 3) BGR bytes, not changed. faces: in the order they are numbered, from 0.
    chosen: their numbers. note: a line at the bottom. largest: most pixels of the long side.
    """
    canvas, scale = _canvas(picture, largest)
    for number, face in enumerate(faces):
        if number not in chosen:
            _mark(canvas, face, scale, f"{number}: {face.score:.2f}", OTHER)
    for number in chosen:
        _mark(canvas, faces[number], scale, f"{number}: {faces[number].score:.2f}", CHOSEN)
    if note:
        _write(canvas, note, 0, canvas.shape[0], LIGHT)
    return canvas


def draw_score(
    picture: Picture, box: NDArray[np.float32] | None, text: str, largest: int = LARGEST
) -> Picture:
    """Return the picture at a size at which marks can be read, with a text and a face's box.

    box: (4,) in pixels, or None.
    """
    canvas, scale = _canvas(picture, largest)
    if box is not None:
        left, top, right, bottom = (round(float(value) * scale) for value in box)
        cv2, unit = import_package("cv2"), _unit(canvas)
        cv2.rectangle(canvas, (left, top), (right, bottom), DARK, 6 * unit)
        cv2.rectangle(canvas, (left, top), (right, bottom), CHOSEN, 4 * unit)
    _write(canvas, text, 0, canvas.shape[0], LIGHT if box is None else CHOSEN)
    return canvas


def largest_preview(count: int) -> int:
    """Return the most pixels of the long side for `count` previews in one batch."""
    if count <= MANY:
        return LARGEST
    return max(1, min(LARGEST_OF_MANY, math.isqrt(ALL_PIXELS // count)))


def same_size(previews: Sequence[Picture]) -> list[Picture]:
    """Return previews of the first one's size, so that they make one batch; black fills up."""
    height, width = previews[0].shape[:2]
    return [_fitted(preview, width, height) for preview in previews]


def _canvas(picture: Picture, largest: int) -> tuple[Picture, float]:
    """Return a copy at the size of a preview, and how much larger than the picture it is."""
    height, width = picture.shape[:2]
    longest = max(height, width)
    scale = min(max(longest, SMALLEST), largest) / longest
    return _resized(picture, max(1, round(width * scale)), max(1, round(height * scale))), scale


def _fitted(preview: Picture, width: int, height: int) -> Picture:
    if preview.shape[:2] == (height, width):
        return preview
    scale = min(width / preview.shape[1], height / preview.shape[0])
    size = max(1, int(preview.shape[1] * scale)), max(1, int(preview.shape[0] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = _resized(preview, *size)
    return canvas


def _resized(picture: Picture, width: int, height: int) -> Picture:
    cv2 = import_package("cv2")
    if picture.shape[:2] == (height, width):
        return picture.copy()
    way = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=way)


def _mark(
    canvas: Picture, face: FoundFace, scale: float, text: str, colour: tuple[int, int, int]
) -> None:
    cv2 = import_package("cv2")
    unit = _unit(canvas)
    thickness = unit * (4 if colour == CHOSEN else 2)
    left, top, right, bottom = (round(float(value) * scale) for value in face.points.box)
    cv2.rectangle(canvas, (left, top), (right, bottom), DARK, thickness + 2 * unit)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness)
    radius = max(unit, min(3 * unit, round(0.02 * (right - left))))
    for (x, y), dot in zip(face.points.kps * scale, POINTS, strict=True):
        center = round(float(x)), round(float(y))
        cv2.circle(canvas, center, radius + 1, DARK, -1, cv2.LINE_AA)
        cv2.circle(canvas, center, radius, dot, -1, cv2.LINE_AA)
    _write(canvas, text, left, top, colour)


def _unit(canvas: Picture) -> int:
    """Return a hair line's width in pixels."""
    return max(1, round(max(canvas.shape[:2]) / 800))


def _write(
    canvas: Picture, text: str, left: int, bottom: int, colour: tuple[int, int, int]
) -> None:
    """Write dark on a plate of the colour, moved so that all of it lies in the picture."""
    cv2 = import_package("cv2")
    size = max(canvas.shape[:2]) / 800 + 0.15  # read where a node shows it 300 pixels wide
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), below = cv2.getTextSize(text, font, size, 1)
    size = min(size, size * canvas.shape[1] / (width + 8))
    (width, height), below = cv2.getTextSize(text, font, size, 1)
    tall = height + below + 4
    left = min(max(left, 0), max(0, canvas.shape[1] - width - 4))
    bottom = min(max(bottom, tall), canvas.shape[0])
    cv2.rectangle(canvas, (left, bottom - tall), (left + width + 4, bottom), colour, -1)
    place = (left + 2, bottom - below - 2)
    cv2.putText(canvas, text, place, font, size, DARK, 1, cv2.LINE_AA)
