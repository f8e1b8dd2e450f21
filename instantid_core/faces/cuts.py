"""Where one shot of a video ends and another begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import WrongInputError
from ..images import Picture
from ..libraries import opencv, scipy

FIND, NO_CUTS, LISTED = "find", "none", "list"
CUT_WAYS = (FIND, NO_CUTS, LISTED)
CUT_THRESHOLD = 0.35  # of drawn and filmed shots: within one at most 0.2, between two at least 0.5
_SIDE = 64  # pixels that a picture is brought to before its colours are counted
_BINS = 8  # of each colour
_SOFT = 0.6  # bins: so that a little more light does not move all colours into the next bin


@dataclass(frozen=True)
class CutSettings:
    """How cuts become known.

    way: one of CUT_WAYS. threshold: 0..1, how different the colours of two frames in a row are at
    a cut. listed: the frames at which another shot begins, for LISTED.
    """

    way: str = FIND
    threshold: float = CUT_THRESHOLD
    listed: tuple[int, ...] = ()

    @classmethod
    def checked(cls, way: str, threshold: object, frames: str) -> CutSettings:
        """Return what a node's widgets say. Raises WrongInputError."""
        if way not in CUT_WAYS:
            raise checks.unknown("cuts", way, CUT_WAYS)
        listed = parse_frames(frames) if way == LISTED else ()
        return cls(way, checks.number(threshold, "cut_threshold"), listed)


@dataclass(frozen=True)
class Cuts:
    """The cuts of a video. frames: at which another shot begins. words: how they became known."""

    frames: tuple[int, ...]
    words: str


class ColourChange:
    """How much the colours change from each picture of a video to the next, 0 to 1."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None
        self.values: list[float] = []

    def look(self, picture: Picture) -> None:
        """Take the next picture, (H, W, 3) bytes; the first one changes nothing."""
        now = _colours(picture)
        before = now if self._before is None else self._before
        self.values.append(float(np.abs(now - before).sum()) / 2)
        self._before = now


def _colours(picture: Picture) -> NDArray[np.float32]:
    """Return how often each colour is there: (8, 8, 8), soft at the edges of the bins, sum 1."""
    cv2 = opencv("Cuts are found")
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    soft = scipy("ndimage", "Cuts are found").gaussian_filter(counts, _SOFT, mode="nearest")
    return (soft / soft.sum()).astype(np.float32)


def cuts_of(changes: Sequence[float], settings: CutSettings) -> Cuts:
    """Return the cuts of a video and how they became known.

    changes: of each frame, as `ColourChange` says. Raises WrongInputError for a listed frame that
    the video does not have.
    """
    if settings.way == NO_CUTS:
        return Cuts((), "No cuts were looked for.")
    if settings.way == LISTED:
        _check_listed(settings.listed, len(changes))
        frames = tuple(frame for frame in settings.listed if frame > 0)
        return Cuts(frames, f"Cuts as listed: {_numbers(frames)}.")
    found = [frame for frame, value in enumerate(changes) if value >= settings.threshold]
    rest = [(value, frame) for frame, value in enumerate(changes) if frame not in set(found)]
    most, where = max(rest, default=(0.0, 0))
    told = ", ".join(f"{frame} ({changes[frame]:.2f})" for frame in found[:_TOLD])
    if len(found) > _TOLD:
        told += f" and {len(found) - _TOLD} more"
    return Cuts(
        tuple(found),
        f"Cuts found: {told or 'none'}, where colours change by {settings.threshold:.2f} or more; "
        f"the largest change elsewhere is {most:.2f}, at frame {where}.",
    )


_TOLD = 12  # cuts that a report names


def _check_listed(frames: Sequence[int], count: int) -> None:
    beyond = [frame for frame in frames if frame >= count]
    if beyond:
        raise WrongInputError(
            f"A cut is listed at frame {beyond[0]}, but the video has {count} frames, counted from "
            "0. List the frames at which another shot begins."
        )


def parse_frames(text: str) -> tuple[int, ...]:
    """Return numbers of frames written with commas between: ascending, each once.

    Raises WrongInputError for anything that is no whole number from 0 on.
    """
    parts = text.replace(",", " ").replace(";", " ").split()
    if not all(part.isdecimal() and len(part) <= 9 for part in parts):
        raise WrongInputError(
            f"The list of frames is {checks.shown(text)}. Wanted: whole numbers from 0 on with "
            "commas between, such as 48, 120."
        )
    return tuple(sorted({int(part) for part in parts}))


def nth_cut(text: str, number: int) -> int:
    """Return the frame of a cut, counted from 1, of a written list. Raises WrongInputError."""
    frames = [frame for frame in parse_frames(text) if frame > 0]
    if not 1 <= number <= len(frames):
        raise WrongInputError(
            f"`cut` asks for cut {number}, counted from 1, but `cut_frames` lists "
            f"{_numbers(frames)}. Use `frame` with cut = 0, or a cut that is listed."
        )
    return frames[number - 1]


def shots_of(count: int, cuts: Sequence[int]) -> list[range]:
    """Return the frames of each shot of a video of `count` frames."""
    edges = [0, *(cut for cut in cuts if 0 < cut < count), count]
    return [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _numbers(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames)) or "none"
