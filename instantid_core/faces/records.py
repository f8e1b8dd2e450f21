"""What was found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

from ..keypoints import FacePoints
from .cache import Hashed


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face the detector found: its points and box in pixels of the picture, score in 0..1.

    hashed: the picture it was found in, which is hashed once for all of its faces.
    """

    points: FacePoints
    score: float
    hashed: Hashed | None = None

    @property
    def width(self) -> float:
        left, _, right, _ = self.points.box.tolist()
        return right - left

    @property
    def height(self) -> float:
        _, top, _, bottom = self.points.box.tolist()
        return bottom - top

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """Of the box, x then y, in pixels."""
        left, top, right, bottom = self.points.box.tolist()
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True, eq=False)
class Search:
    """The outcome of looking for faces in one picture.

    faces: largest box first. tried: how the picture was looked at, in words.
    best_score: the highest score seen, above the threshold or not; 0 where there was none.
    """

    faces: tuple[FoundFace, ...]
    tried: tuple[str, ...]
    best_score: float
