"""Keypoints of a video made steady: points that shiver smoothed, gaps filled, cuts kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..keypoints import FacePoints, Keypoints
from ..libraries import scipy
from ..log import note, tell
from .cuts import parse_frames, shots_of
from .frames import BLANK, HOLD, INTERPOLATE
from .tracks import assigned, intersection_over_union

SAVITZKY_GOLAY, ONE_EURO, NO_SMOOTHING = "savitzky_golay", "one_euro", "none"
SMOOTHINGS = (ONE_EURO, SAVITZKY_GOLAY, NO_SMOOTHING)
GAPS = (INTERPOLATE, HOLD, BLANK)
WINDOW = 31  # frames: somewhat more than a second of film
LONGEST_GAP = 12  # frames
_DEGREE = 2  # of the parabolas that Savitzky-Golay lays through a window
_GAIN = 80.0  # of One-Euro's cutoff, for each face size that a point moves in a frame

SOME_WITHOUT_LANDMARKS = (
    "The 106 landmarks of a person are left out in frames in a row of which some have none. Find "
    "the keypoints of all frames with `landmarks` switched on."
)

# (n, 14) or (n, 226): five points, a box and, where there are some, landmarks, frame after frame.
Series = NDArray[np.float64]


@dataclass(frozen=True)
class Steadying:
    """How keypoints are made steady.

    smoothing: one of SMOOTHINGS. window: frames that it looks at. gaps: one of GAPS, for frames
    without a face between frames with it, and at the edges of a shot. longest_gap: frames; longer
    gaps stay blank, and nothing is smoothed across them. cuts: besides those of the keypoints.
    """

    smoothing: str = ONE_EURO
    window: int = WINDOW
    gaps: str = INTERPOLATE
    longest_gap: int = LONGEST_GAP
    cuts: tuple[int, ...] = ()

    @classmethod
    def checked(
        cls, smoothing: str, window: int, gaps: str, longest_gap: int, cuts: str
    ) -> Steadying:
        """Return what a node's widgets say. Raises WrongInputError."""
        if smoothing not in SMOOTHINGS:
            raise checks.unknown("smoothing", smoothing, SMOOTHINGS)
        if gaps not in GAPS:
            raise checks.unknown("gaps", gaps, GAPS)
        frames, gap = checks.number(window, "window"), checks.number(longest_gap, "longest_gap")
        return cls(smoothing, int(frames), gaps, int(gap), parse_frames(cuts))


def steady(keypoints: Keypoints, how: Steadying) -> Keypoints:
    """Return as many frames, with every person's face smoothed and gaps filled.

    Faces that nobody followed are one person while their boxes overlap, and are put into frames
    without any face only. Nothing of one side of a cut, or of a gap longer than the limit, reaches
    the other.
    """
    followed = all(face.track is not None for face in keypoints.faces)
    cuts = sorted({*keypoints.cuts, *how.cuts})
    frames = keypoints.frames if followed else _numbered(keypoints.frames, cuts)
    tracks = sorted({face.track for frame in frames for face in frame if face.track is not None})
    made: list[list[FacePoints]] = [[] for _ in frames]
    filled = 0
    for shot in shots_of(len(frames), cuts):
        for track in tracks:
            seen = {n: face for n in shot for face in frames[n] if face.track == track}
            for frame, face in _steadied(seen, shot, how).items():
                if frame in seen or followed or not frames[frame]:
                    filled += frame not in seen
                    made[frame].append(face)
    if filled:
        note(f"{filled} frame{'' if filled == 1 else 's'} without a face filled: {how.gaps}")
    return replace(keypoints, frames=tuple(map(tuple, made)), cuts=tuple(cuts))


def _numbered(
    frames: Sequence[tuple[FacePoints, ...]], cuts: Sequence[int]
) -> list[tuple[FacePoints, ...]]:
    """Return the frames with every face of a track, by overlap."""
    made: list[tuple[FacePoints, ...]] = []
    count = 0
    for shot in shots_of(len(frames), cuts):
        last: dict[int, FacePoints] = {}  # of each person of this shot, the face seen last
        for n in shot:
            pairs = assigned(list(last.values()), frames[n], _overlap)
            known = {id(new): old.track for old, new in pairs}
            faces: list[FacePoints] = []
            for face in frames[n]:
                number = known.get(id(face))
                if number is None:
                    number, count = count, count + 1
                faces.append(replace(face, track=number))
                last[number] = faces[-1]
            made.append(tuple(faces))
    return made


def _overlap(a: FacePoints, b: FacePoints) -> float | None:
    return intersection_over_union(a.box, b.box) or None


def _steadied(seen: dict[int, FacePoints], shot: range, how: Steadying) -> dict[int, FacePoints]:
    """Return a person's faces in a shot, by frame."""
    made: dict[int, FacePoints] = {}
    runs = _runs(sorted(seen), how.longest_gap)
    for run in runs:
        made |= _smoothed({n: seen[n] for n in run}, how)
    if runs and how.gaps != BLANK:
        first, last = runs[0][0], runs[-1][-1]
        if 0 < first - shot.start <= how.longest_gap:
            made |= dict.fromkeys(range(shot.start, first), made[first])
        if 0 < shot.stop - 1 - last <= how.longest_gap:
            made |= dict.fromkeys(range(last + 1, shot.stop), made[last])
    return made


def _runs(frames: Sequence[int], longest_gap: int) -> list[list[int]]:
    """Divide frames at gaps that are longer than the limit."""
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame - runs[-1][-1] - 1 <= longest_gap:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _smoothed(seen: dict[int, FacePoints], how: Steadying) -> dict[int, FacePoints]:
    """Smooth a run of frames, in which gaps are taken as straight, then leave or fill the gaps."""
    frames = sorted(seen)
    every = range(frames[0], frames[-1] + 1)
    values = _series([seen[n] for n in frames])
    columns: list[NDArray[np.float64]] = [np.interp(every, frames, one) for one in values.T]
    series = smooth(np.stack(columns, axis=1), how.smoothing, how.window)
    made: dict[int, FacePoints] = {}
    held = frames[0]
    for n, row in zip(every, series, strict=True):
        held = n if n in seen else held
        if n not in seen and how.gaps != INTERPOLATE:
            if how.gaps == HOLD:
                made[n] = made[held]
            continue
        made[n] = _face_of(row, seen[held])
    return made


def _series(faces: Sequence[FacePoints]) -> Series:
    """Return a person's faces of frames in a row as numbers; with landmarks if all have some."""
    marks = [face.landmarks for face in faces if face.landmarks is not None]
    rows = [np.concatenate([face.kps.ravel(), face.box]) for face in faces]
    if len(marks) == len(faces):
        rows = [np.append(row, own) for row, own in zip(rows, marks, strict=True)]
    elif marks:
        tell(SOME_WITHOUT_LANDMARKS)
    return np.array(rows, np.float64)


def _face_of(row: NDArray[np.float64], like: FacePoints) -> FacePoints:
    """Return the face that a row of numbers is. like: what else belongs to it."""
    kps, box, rest = np.split(row.astype(np.float32), [10, 14])
    landmarks = rest.reshape(-1, 2) if len(rest) else None
    return replace(like, kps=kps.reshape(5, 2), box=box, landmarks=landmarks)


def smooth(series: Series, smoothing: str, window: int) -> Series:
    """Return points, boxes and landmarks over n frames in a row, smoothed; without a lag.

    smoothing: one of SMOOTHINGS. window: frames that it looks at; as many as there are at most.
    Sources: Savitzky and Golay 1964, by SciPy; Casiez, Roussel and Vogel 2012 (One-Euro), here run
    forwards and backwards.
    """
    odd = min(window, len(series) - 1) // 2 * 2 + 1
    if smoothing == NO_SMOOTHING or odd < 3:
        return series
    if smoothing == ONE_EURO:
        return (_one_euro(series, odd) + _one_euro(series[::-1], odd)[::-1]) / 2
    signal = scipy("signal", "Keypoints are smoothed")
    return signal.savgol_filter(series, odd, min(_DEGREE, odd - 1), axis=0, mode="interp")


def _one_euro(series: Series, window: int) -> Series:
    """Smooth from front to back: the more, the slower a point moves, in sizes of the face.

    At rest it weighs frames as a mean over `window` of them that fades out.
    """
    sides = series[:, 12:14] - series[:, 10:12]
    size = float(np.sqrt((sides**2).sum(axis=1)).mean()) or 1.0
    least = 2 / (window + 1)
    at_rest = least / (1 - least)
    made = np.empty_like(series)
    made[0], speed = series[0], np.zeros(series.shape[1])
    for n in range(1, len(series)):
        speed += least * ((series[n] - series[n - 1]) / size - speed)
        cutoff = at_rest + _GAIN * np.abs(speed)
        made[n] = made[n - 1] + cutoff / (cutoff + 1) * (series[n] - made[n - 1])
    return made
