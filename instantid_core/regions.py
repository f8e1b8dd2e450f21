"""Masks that are made from faces as soon as the picture's size is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import checks
from .errors import WrongInputError
from .fitting import Fit, fit
from .keypoints import FacePoints, Keypoints, only_frames
from .masks import Region
from .weighting import WeightCurve


class Shape(str, Enum):
    """The form of a face region.

    BOX: the detector's face box, as in the official demos. ELLIPSE: an ellipse around the whole
    head, which follows the tilt of the face.
    """

    BOX = "box"
    ELLIPSE = "ellipse"

    @classmethod
    def _missing_(cls, value: object) -> Shape:
        raise checks.unknown("shape", value, [shape.value for shape in cls])


@dataclass(frozen=True)
class Outline:
    """How a face becomes a region.

    padding: how much larger it is on every side, in parts of the face's own size (its box's
    longer side); negative is smaller. feather: width of the soft edge outside of that, in the
    same unit; 0 is a hard edge.
    """

    shape: Shape = Shape.BOX
    padding: float = 0.0
    feather: float = 0.0

    def __post_init__(self) -> None:
        if not (-0.5 < self.padding <= 10 and 0 <= self.feather <= 10):
            raise WrongInputError(
                f"A face region with padding {self.padding:g} and feather {self.feather:g} cannot "
                "be made. Padding from -0.5 to 10 and feather from 0 to 10 are wanted, in parts "
                "of the face's size; 0 and 0 are the official box."
            )

    @property
    def is_scalable(self) -> bool:
        """Whether a factor on padding and feather changes anything."""
        return self.padding != 0 or self.feather != 0

    def scaled(self, factor: float) -> Outline:
        """Return it with padding and feather multiplied, as far as a region can be made so."""
        padding = min(max(factor * self.padding, _LEAST_PADDING), _MOST)
        return Outline(self.shape, padding, min(max(factor * self.feather, 0.0), _MOST))


_LEAST_PADDING, _MOST = -0.499, 10.0
OFFICIAL = Outline()
AROUND_HEAD = Outline(Shape.ELLIPSE, 0.1, 0.15)  # what is pasted back: hair and chin, softly


@dataclass(frozen=True, eq=False)
class FaceRegion(Region):
    """The faces of keypoints, filled: where the official demos let InstantID act.

    Source: `control_mask` in the official infer_full.py, which is the outline BOX without padding
    and feather. The faces are fitted onto the picture as the drawn keypoints are. A frame without
    a face is empty. curve: a factor on padding and feather over the sampling.
    """

    keypoints: Keypoints
    fit: Fit = Fit.CROP
    outline: Outline = field(default=OFFICIAL)
    curve: WeightCurve | None = None

    @property
    def frame_count(self) -> int:
        """The frames of the keypoints."""
        return len(self.keypoints.frames)

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32 in 0..1, CPU."""
        fitted = fit(self.keypoints, width, height, self.fit)
        return draw_regions(only_frames(fitted, frames), self.outline)

    @property
    def changes(self) -> bool:
        """Whether a curve makes it larger or smaller while sampling."""
        return self.curve is not None and self.outline.is_scalable

    def at(self, percent: float) -> FaceRegion:
        """Return the region as it is at a percent of the sampling, 0..1."""
        if self.curve is None:
            return self
        outline = self.outline.scaled(self.curve.at(percent))
        return replace(self, outline=outline, curve=None)


def draw_regions(fitted: Keypoints, outline: Outline = OFFICIAL) -> Tensor:
    """Return the regions of faces on their own canvas: (F,height,width) float32 in 0..1, CPU.

    Where regions of one frame overlap, the larger value counts.
    """
    mask = torch.zeros(len(fitted.frames), fitted.height, fitted.width)
    x = torch.arange(fitted.width, dtype=torch.float32)[None, :]
    y = torch.arange(fitted.height, dtype=torch.float32)[:, None]
    for frame, faces in zip(mask, fitted.frames, strict=True):
        for face in faces:
            torch.maximum(frame, coverage(face, outline, x, y), out=frame)
    return mask


def coverage(face: FacePoints, outline: Outline, x: Tensor, y: Tensor) -> Tensor:
    """Return a face's region at points of its picture: 1 within, falling to 0 over the feather.

    x, y: float32, in pixels, of one shape or of shapes that fit each other, which is the result's.
    """
    distance = (_from_box if outline.shape is Shape.BOX else _from_ellipse)(face, outline, x, y)
    feather = outline.feather * _size(face)
    return (1 - distance / feather).clamp(min=0) if feather > 1e-3 else (distance == 0).float()


def _from_box(face: FacePoints, outline: Outline, x: Tensor, y: Tensor) -> Tensor:
    """How far points lie outside of a face's box, in pixels; infinitely far from an empty one."""
    grow = np.array([-1, -1, 1, 1]) * outline.padding * _size(face)
    left, top, right, bottom = (int(side) for side in (face.box + grow).tolist())
    outside_x = torch.maximum(left - x, x - (right - 1)).clamp(min=0)
    outside_y = torch.maximum(top - y, y - (bottom - 1)).clamp(min=0)
    distance = torch.hypot(outside_x, outside_y)
    return distance if right > left and bottom > top else torch.full_like(distance, torch.inf)


def _from_ellipse(face: FacePoints, outline: Outline, x: Tensor, y: Tensor) -> Tensor:
    """How far points lie outside of an ellipse around a face's head, in pixels."""
    centre, axes, turn = head_ellipse(face)
    axes = np.maximum(axes + outline.padding * _size(face), 1.0)
    x, y = x - float(centre[0]), y - float(centre[1])
    along_x = turn[0, 0] * x + turn[1, 0] * y
    along_y = turn[0, 1] * x + turn[1, 1] * y
    radius = torch.hypot(along_x / float(axes[0]), along_y / float(axes[1]))
    return ((radius - 1) * float(axes.min())).clamp(min=0)


def head_ellipse(
    face: FacePoints,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return an ellipse around a head: centre (2,), half axes (2,), and (2,2) its axes as columns.

    The second axis runs from the eyes to the mouth, so that the ellipse tilts with the face. All
    lengths follow from the distance between the eyes, or from eyes to mouth where a turned head
    brings the eyes together; in a frontal face of average proportions the ellipse reaches from
    the hair to the chin.
    """
    kps = face.kps.astype(np.float64)
    eyes, mouth = kps[:2].mean(axis=0), kps[3:].mean(axis=0)
    down = mouth - eyes
    length = float(np.linalg.norm(down))
    unit = max(float(np.linalg.norm(kps[1] - kps[0])), length / _EYES_TO_MOUTH, 1e-6)
    down = down / length if length > 0 else np.array([0.0, 1.0])
    turn = np.array([[down[1], down[0]], [-down[0], down[1]]])
    return eyes + down * unit * _HEAD_CENTRE, np.array(_HEAD_AXES) * unit, turn


# In distances between the eyes: from the eyes to the mouth, from the eyes down to the middle of
# the head, half the head's width and height.
_EYES_TO_MOUTH = 1.15
_HEAD_CENTRE = 0.25
_HEAD_AXES = (1.45, 1.85)


def _size(face: FacePoints) -> float:
    """The longer side of a face's box, in pixels."""
    return float((face.box[2:] - face.box[:2]).max())
