"""Look for faces in one picture, at several sizes.

SCRFD looks at squares of 640 pixels by default. Faces that fill more than about 40 % of it lose
their score, faces under about 10 pixels do not have one. So a picture is looked at in passes: the
detector's own size and a small one always; where neither finds a face, a smaller one, with room
around the picture, and larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import WrongFileError
from ..images import Picture
from ..keypoints import FacePoints
from .cache import Hashed
from .records import FoundFace
from .runtime import import_package, is_on_cpu

STRIDE = 32  # the coarsest grid of the detector: canvases are multiples of it
SCORE_FLOOR = 0.05  # below this nothing is kept, not even for the message about the best score
OVERLAP_LIMIT = 0.4  # insightface's own: intersection over union of one face's boxes
KEPT_PER_PASS = 200
OFFICIAL_BONUS = 0.2  # of two finds of one face, the one of the official size wins by this score

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Pass:
    """One way to look at a picture.

    extent: its long side in the detector's input, in pixels; above the official size at most, as
    no picture is enlarged for it. margin: room around it, as a share of the extent, on each side.
    """

    extent: int
    margin: float = 0.0

    @property
    def words(self) -> str:
        return f"{self.extent}" if self.margin == 0 else f"{self.extent} with room around it"


OFFICIAL = Pass(640)
ALWAYS = (OFFICIAL, Pass(256))
SMALLER = (Pass(128), Pass(320, 0.5), Pass(160, 0.5))
LARGER = (1280, 2560)
LARGEST_SIDE = LARGER[-1]  # of the detector's input, in pixels
WORTH_ENLARGING = 1.25  # a picture only this much larger than the official size gains nothing


def further_passes(width: int, height: int) -> tuple[Pass, ...]:
    """Return the passes to fall back on for a picture of that size, cheap ones first."""
    longest = max(width, height)
    if longest < OFFICIAL.extent * WORTH_ENLARGING:
        return SMALLER
    extents = LARGER[:1] if longest <= LARGER[0] else LARGER
    return (*SMALLER, *map(Pass, extents))


@dataclass(frozen=True, eq=False)
class Candidates:
    """What one pass found: boxes (n, 4), points (n, 5, 2), scores (n,); pixels of the picture."""

    boxes: Array
    points: Array
    scores: Array


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in the detector's input, exactly, for each axis on its own.

    scale: x, y: detector pixels per picture pixel. offset: x, y: of the picture's corner.
    """

    canvas: tuple[int, int]
    size: tuple[int, int]
    offset: tuple[int, int]
    scale: tuple[float, float]

    def to_picture(self, points: Array) -> Array:
        """Return detector coordinates (..., 2) in pixels of the picture.

        Whole numbers are pixel centres on both sides, as in OpenCV's resize.
        """
        offset = np.array(self.offset, np.float32)
        scale = np.array(self.scale, np.float32)
        return ((points - offset + 0.5) / scale - 0.5).astype(np.float32)


def letterbox(
    width: int,
    height: int,
    look: Pass,
    static: tuple[int, int] | None,
    *,
    squares: bool = True,
) -> Letterbox:
    """Return how a picture of that size is laid into the detector's input.

    static: width and height of a detector that takes only one size, else None. squares: whether the
    input's size depends on the pass alone, so that no picture brings a new one; else the input of a
    large pass is only as large as the picture needs.
    """
    extent = look.extent if static is None else min(look.extent, *static)
    ratio = extent / max(width, height)
    if look.extent > OFFICIAL.extent:
        ratio = min(ratio, 1.0)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    room = round(extent * look.margin)
    if static is not None:
        canvas = static
    elif look.extent > OFFICIAL.extent and not squares:
        canvas = _whole_strides(size[0]), _whole_strides(size[1])
    else:
        side = _whole_strides(extent + 2 * room)
        canvas = side, side
    offset = (
        (0, 0) if look.margin == 0 else ((canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2)
    )
    return Letterbox(canvas, size, offset, (size[0] / width, size[1] / height))


def _whole_strides(pixels: int) -> int:
    return -(-pixels // STRIDE) * STRIDE


def lay_in(picture: Picture, box: Letterbox) -> Picture:
    """Return the detector's input, (H, W, 3) BGR bytes: the picture resized, black around it."""
    cv2 = import_package("cv2")
    # Bilinear as insightface does, but where it would skip pixels, average them.
    way = cv2.INTER_AREA if max(box.scale) < 0.5 else cv2.INTER_LINEAR
    left, top = box.offset
    canvas = np.zeros((box.canvas[1], box.canvas[0], 3), np.uint8)
    resized = cv2.resize(picture, box.size, interpolation=way)
    canvas[top : top + box.size[1], left : left + box.size[0]] = resized
    return canvas


def run_pass(detector: Any, picture: Picture, look: Pass) -> Candidates:
    """Run insightface's SCRFD once and return what it found, in pixels of the picture.

    detector: an SCRFD with five points. picture: (H, W, 3) BGR bytes.

    Raises WrongFileError for a detector that gives nonsense.
    """
    height, width = picture.shape[:2]
    # A new size costs a GPU memory and a search for algorithms; a CPU only pays for pixels.
    squares = not is_on_cpu(getattr(detector, "session", None))
    box = letterbox(width, height, look, detector.static_input_size, squares=squares)
    scores, boxes, points = detector.forward(lay_in(picture, box), SCORE_FLOOR)
    found = Candidates(
        boxes=box.to_picture(_stack(boxes, (2, 2))).reshape(-1, 4),
        points=box.to_picture(_stack(points, (5, 2))),
        scores=_stack(scores, ()),
    )
    check_sane(found)
    order = np.argsort(-found.scores, kind="stable")
    return _select(found, keep_apart(found.boxes, order)[:KEPT_PER_PASS])


def check_sane(found: Candidates) -> None:
    """Raise WrongFileError for numbers that no detector of faces gives."""
    if not len(found.boxes) == len(found.points) == len(found.scores):
        raise WrongFileError(
            f"The face detector gave {len(found.scores)} scores, {len(found.boxes)} boxes and "
            f"{len(found.points)} times five points; wanted as many of each. Put antelopev2's "
            "scrfd_10g_bnkps.onnx (17 MB) in its place."
        )
    for numbers in (found.boxes, found.points, found.scores):
        if not bool((np.abs(numbers) <= checks.LARGEST).all()):
            raise WrongFileError(
                "The face detector gave places of faces that are not numbers (NaN or infinity), "
                "or that lie far off every picture. Put antelopev2's scrfd_10g_bnkps.onnx (17 MB) "
                "in its place, or choose the provider CPU."
            )


def _stack(parts: list[Any], shape: tuple[int, ...]) -> Array:
    arrays = [np.asarray(part, np.float32).reshape(-1, *shape) for part in parts]
    return np.concatenate(arrays)


def _select(found: Candidates, rows: list[int]) -> Candidates:
    return Candidates(found.boxes[rows], found.points[rows], found.scores[rows])


def keep_apart(boxes: Array, order: NDArray[np.intp]) -> list[int]:
    """Return the rows, first ones of `order` first, whose boxes do not overlap an earlier one.

    boxes: (n, 4) left, top, right, bottom. order: (n,) row numbers, best first.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    rest = order
    while rest.size:
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        corner = np.maximum(boxes[best, :2], boxes[rest, :2])
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner
        shared = sides.clip(min=0).prod(axis=1)
        union = np.maximum(areas[best] + areas[rest] - shared, 1e-6)
        rest = rest[shared / union <= OVERLAP_LIMIT]
    return kept


def merge(
    passes: list[tuple[Pass, Candidates]], threshold: float, hashed: Hashed | None = None
) -> tuple[FoundFace, ...]:
    """Return every face once, largest box first. hashed: the picture, for its faces.

    Of several finds of one face the best score stays, with a bonus for the official size, so that
    a picture the official code reads well gives the very numbers it gives there.
    """
    every = Candidates(
        np.concatenate([found.boxes for _, found in passes]),
        np.concatenate([found.points for _, found in passes]),
        np.concatenate([found.scores for _, found in passes]),
    )
    bonus = np.concatenate(
        [np.full(len(f.scores), OFFICIAL_BONUS if p == OFFICIAL else 0.0) for p, f in passes]
    )
    sure = np.flatnonzero(every.scores >= threshold)
    order = sure[np.argsort(-(every.scores + bonus)[sure], kind="stable")]
    faces = faces_of(_select(every, keep_apart(every.boxes, order)), hashed)
    return tuple(sorted(faces, key=lambda face: -face.area))


def faces_of(found: Candidates, hashed: Hashed | None) -> tuple[FoundFace, ...]:
    """Return all that was found as faces, in its order. hashed: the picture they are in."""
    rows = zip(found.points, found.boxes, found.scores, strict=True)
    return tuple(FoundFace(FacePoints(kps, box), float(score), hashed) for kps, box, score in rows)
