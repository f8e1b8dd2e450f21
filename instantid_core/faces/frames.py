"""Faces of a sequence of frames: every frame keeps its index, whatever was found in it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np

from .. import checks
from ..errors import NoFaceError
from ..keypoints import FacePoints
from ..log import warn

ERROR, HOLD, INTERPOLATE, BLANK = "error", "hold", "interpolate", "blank"
ON_MISSING_FRAME = (ERROR, HOLD, INTERPOLATE, BLANK)

Frame = tuple[FacePoints, ...]


def fill_frames(
    frames: Sequence[Frame], problems: Sequence[str], on_missing: str
) -> tuple[Frame, ...]:
    """Return as many frames as came in, those without a face filled as asked.

    frames: the faces of each frame; an empty tuple where there is none. problems: why, by frame.
    on_missing: "error" raises NoFaceError; "hold" repeats the frame before (at the start, the
    first one with a face); "interpolate" moves points, box and landmarks evenly between the frames
    before and after; "blank" leaves the frame empty.

    Raises NoFaceError too where there is nothing to hold.
    """
    if on_missing not in ON_MISSING_FRAME:
        raise checks.unknown("on_missing", on_missing, ON_MISSING_FRAME)
    found = [number for number, frame in enumerate(frames) if frame]
    missing = [number for number, frame in enumerate(frames) if not frame]
    if missing and (on_missing == ERROR or (not found and on_missing != BLANK)):
        raise NoFaceError(problems[missing[0]])
    for number in missing:
        warn(
            f"Frame {number + 1} of {len(frames)} has no face; on_missing is {on_missing}. "
            f"{problems[number]}"
        )
    if on_missing == BLANK:
        return tuple(frames)
    return tuple(_filled(frames, found, number, on_missing) for number in range(len(frames)))


def _filled(frames: Sequence[Frame], found: Sequence[int], number: int, way: str) -> Frame:
    before = found[max(bisect.bisect_right(found, number) - 1, 0)]
    after = found[min(bisect.bisect_left(found, number), len(found) - 1)]
    if way == HOLD or after <= before:
        return frames[before]
    way_along = (number - before) / (after - before)
    pairs = zip(frames[before], frames[after], strict=False)
    return tuple(_between(a, b, way_along) for a, b in pairs)


def _between(a: FacePoints, b: FacePoints, way_along: float) -> FacePoints:
    kps = a.kps + (b.kps - a.kps) * way_along
    box = a.box + (b.box - a.box) * way_along
    landmarks = None
    if a.landmarks is not None and b.landmarks is not None:
        landmarks = (a.landmarks + (b.landmarks - a.landmarks) * way_along).astype(np.float32)
    return FacePoints(kps.astype(np.float32), box.astype(np.float32), a.track, landmarks)
