"""Look for faces with insightface's own arithmetic, as the old InstantID pack does.

insightface scales both axes by one number, resizes bilinearly however much smaller the picture
becomes, and maps back by dividing by that number. On a large photo its points lie some pixels off;
`detection` has the exact way.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..images import Picture
from .detection import Candidates, check_sane

# The old pack's, in its order: it stops at the first one that shows a face.
SIZES = tuple((side, side) for side in range(640, 128, -64))


def sizes_of(detector: Any) -> tuple[tuple[int, int], ...]:
    """Return the sizes (width, height) to look at; of a detector of one size only that one."""
    static = detector.static_input_size
    return SIZES if static is None else (tuple(static),)


def detect(detector: Any, picture: Picture, size: tuple[int, int], threshold: float) -> Candidates:
    """Return what insightface's own `detect` finds at one size, best score first.

    detector: an SCRFD with five points, which is not changed. picture: (H, W, 3) BGR bytes.
    threshold: 0..1, least score of a face.

    Raises WrongFileError for a detector that gives nonsense.
    """
    asked = copy.copy(detector)
    asked.det_thresh = threshold
    boxes, points = asked.detect(picture, input_size=size)  # (n, 5), (n, 5, 2)
    found = Candidates(
        boxes=np.asarray(boxes[:, :4], np.float32),
        points=np.asarray(points, np.float32),
        scores=np.asarray(boxes[:, 4], np.float32),
    )
    check_sane(found)
    return found
