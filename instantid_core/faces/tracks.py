"""Of every face in every frame of a video: which are one person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import WrongInputError
from ..keypoints import FacePoints
from ..libraries import scipy
from .analyzer import Embedding
from .cuts import shots_of
from .pick import likeness

ONE_PERSON = 0.3  # least likeness of two stretches of a video that show one person
OTHER_PERSON = 0.1  # a face at the same place that is less alike is another person's
OVERLAP = 0.3  # least intersection over union of one face's boxes, from frame to frame
SOON = 12  # frames without a face, after which its place still says something
BRIEF = 3  # frames; what is less long and like nobody is a face half hidden, and goes by place

LONGEST, LARGEST, MOST_LIKE, NUMBER, ALL = "longest", "largest", "most_like", "number", "all"
TRACK_CHOICES = (LONGEST, LARGEST, MOST_LIKE, NUMBER, ALL)

IMPOSSIBLE = -100.0  # the score of a pair that nothing can make up for

Old = TypeVar("Old")
New = TypeVar("New")


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face in a frame. embedding: (512,), raw."""

    face: FacePoints
    embedding: Embedding

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        width, height = (self.face.box[2:] - self.face.box[:2]).tolist()
        return width * height


@dataclass(eq=False)
class Track:
    """One person through a video: their face by frame, frames ascending."""

    sightings: dict[int, Sighting] = field(default_factory=dict[int, Sighting])
    _sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(512))

    def add(self, frame: int, sighting: Sighting) -> None:
        """Add the face of a later frame."""
        self.sightings[frame] = sighting
        length = float(np.linalg.norm(sighting.embedding))
        if length > 0:
            self._sum += sighting.embedding / length

    def take_in(self, other: Track) -> None:
        """Add the faces of another one in frames that have none, as faces that say nothing."""
        together = {**self.sightings, **other.sightings}
        self.sightings = dict(sorted(together.items()))

    @property
    def embedding(self) -> NDArray[np.float64]:
        """(512,): the mean direction of all sightings, of no length in particular."""
        return self._sum

    @property
    def first(self) -> int:
        """The first frame in which they are seen."""
        return next(iter(self.sightings))

    @property
    def last(self) -> int:
        """The last frame in which they are seen."""
        return next(reversed(self.sightings))

    @property
    def area(self) -> float:
        """Of the box, in square pixels, on average."""
        return float(np.mean([sighting.area for sighting in self.sightings.values()]))

    def expected(self, frame: int) -> NDArray[np.float32]:
        """Return the box (4,) in a frame after the last, if the face moves on as it did."""
        last = self.sightings[self.last].face.box
        before = self.sightings.get(self.last - 1)
        if before is None or frame - self.last > SOON:
            return last
        moved = last + (last - before.face.box) * (frame - self.last)
        return moved.astype(np.float32)


def link(frames: Sequence[Sequence[Sighting]], cuts: Sequence[int], alike: float) -> list[Track]:
    """Return the persons of a video, in the order in which they appear, then from left to right.

    frames: the faces of each frame. cuts: frames at which another shot begins. alike: least
    likeness, -1..1, of two stretches that are one person.
    Within a shot a face goes on where boxes overlap and the likeness does not speak against it;
    stretches, also of several shots, are joined by likeness. Two faces of a frame are two persons.
    """
    stretches: list[Track] = []
    for shot in shots_of(len(frames), cuts):
        stretches += _stretches(frames, shot)
    persons = _by_place(_joined(stretches, cuts, alike), set(cuts))
    return sorted(persons, key=lambda track: (track.first, _left(track)))


def _left(track: Track) -> float:
    return float(track.sightings[track.first].face.box[0])


def _stretches(frames: Sequence[Sequence[Sighting]], shot: range) -> list[Track]:
    """Return what goes on from frame to frame without a gap, within a shot."""
    every: list[Track] = []
    going: list[Track] = []
    for frame in shot:
        here = sorted(frames[frame], key=lambda sighting: float(sighting.face.box[0]))
        pairs = assigned(going, here, lambda track, new, at=frame: _goes_on(track, new, at))
        next_of = {id(new): track for track, new in pairs}
        going = []
        for sighting in here:
            track = next_of.get(id(sighting))
            if track is None:
                track = Track()
                every.append(track)
            track.add(frame, sighting)
            going.append(track)
    return every


def _goes_on(track: Track, new: Sighting, frame: int) -> float | None:
    """Return how well a face goes on with a stretch; None if it is not the same face."""
    overlap = intersection_over_union(track.expected(frame), new.face.box)
    alike = likeness(track.embedding.astype(np.float32), new.embedding)
    if overlap < OVERLAP or alike < OTHER_PERSON:
        return None
    return overlap + alike


def _joined(stretches: Sequence[Track], cuts: Sequence[int], alike: float) -> list[Track]:
    """Return persons made of stretches, those that begin earlier first."""
    persons: list[Track] = []
    starts = dict.fromkeys(sorted(stretch.first for stretch in stretches))
    for start in starts:
        beginning = [stretch for stretch in stretches if stretch.first == start]
        pairs = assigned(persons, beginning, lambda person, new: _is_one(person, new, cuts, alike))
        known = {id(new): person for person, new in pairs}
        for stretch in beginning:
            person = known.get(id(stretch))
            if person is None:
                persons.append(stretch)
                continue
            for frame, sighting in stretch.sightings.items():
                person.add(frame, sighting)
    return persons


def _by_place(persons: Sequence[Track], cuts: set[int]) -> list[Track]:
    """Give faces that are seen briefly and like nobody to whom they lie beside in place and time.

    Such is a face half hidden by another, or half out of the picture.
    """
    kept = sorted(persons, key=lambda track: track.first)
    for brief in [*kept, *reversed(kept)]:
        if brief in kept and len(brief.sightings) < BRIEF:
            others = [track for track in kept if track is not brief]
            best = max(others, key=lambda track: _beside(track, brief, cuts), default=None)
            if best is not None and _beside(best, brief, cuts) >= OVERLAP:
                best.take_in(brief)
                kept.remove(brief)
    return kept


def _beside(track: Track, brief: Track, cuts: set[int]) -> float:
    """Return the overlap of boxes with the frame before or after, 0 where there is none."""
    if track.sightings.keys() & brief.sightings.keys():
        return 0.0
    pairs = (
        (brief.first - 1, brief.first, brief.first),
        (brief.last + 1, brief.last, brief.last + 1),
    )
    return max(
        intersection_over_union(track.sightings[theirs].face.box, brief.sightings[own].face.box)
        if theirs in track.sightings and later not in cuts
        else 0.0
        for theirs, own, later in pairs
    )


def _is_one(person: Track, new: Track, cuts: Sequence[int], least: float) -> float | None:
    """Return how sure it is that a stretch is a person's; None if it is not, or cannot be."""
    if person.last >= new.first:
        return None
    alike = likeness(person.embedding.astype(np.float32), new.embedding.astype(np.float32))
    same_shot = not any(person.last < cut <= new.first for cut in cuts)
    overlap = 0.0
    if same_shot and new.first - person.last <= SOON:
        face = new.sightings[new.first].face
        overlap = intersection_over_union(person.expected(new.first), face.box)
    if alike >= least or (overlap >= OVERLAP and alike >= min(least, OTHER_PERSON)):
        return overlap + alike
    return None


def assigned(
    old: Sequence[Old], new: Sequence[New], score: Callable[[Old, New], float | None]
) -> list[tuple[Old, New]]:
    """Return pairs, each of the old and of the new in one at most, with the largest sum of scores.

    score: of a pair; None where they do not belong together.
    """
    if not old or not new:
        return []
    scores = [[score(a, b) for b in new] for a in old]
    worth = np.array([[IMPOSSIBLE if one is None else one for one in row] for row in scores])
    rows, columns = scipy("optimize", "Faces are followed").linear_sum_assignment(
        worth, maximize=True
    )
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(old[i], new[j]) for i, j in pairs if scores[i][j] is not None]


def intersection_over_union(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return how much two boxes (4,) have in common, 0..1."""
    inner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(inner, 0)))
    areas = float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2]))
    return common / (areas - common) if common > 0 else 0.0


def choose_tracks(
    tracks: Sequence[Track], choice: str, index: int, like: Embedding | None
) -> list[int]:
    """Return the numbers of the tracks that are meant: one, or with ALL every one.

    choice: one of TRACK_CHOICES, the order in which `index` counts from 0. like: (512,), whom to be
    like with MOST_LIKE. Raises WrongInputError.
    """
    if choice not in TRACK_CHOICES:
        raise checks.unknown("track", choice, TRACK_CHOICES)
    if choice == ALL:
        return list(range(len(tracks)))
    if choice == MOST_LIKE and like is None:
        raise WrongInputError(
            "track is most_like, but there is no identity to be like. Connect one to `like`, or "
            "choose another track."
        )

    def place(number: int) -> float:
        track = tracks[number]
        if choice == LONGEST:
            return -len(track.sightings)
        if choice == LARGEST:
            return -track.area
        if choice == MOST_LIKE and like is not None:
            return -likeness(track.embedding.astype(np.float32), like)
        return number

    order = sorted(range(len(tracks)), key=place)
    if not 0 <= index < len(order):
        people = "1 person" if len(order) == 1 else f"{len(order)} persons"
        raise WrongInputError(
            f"`index` asks for person number {index}, counted from 0, but the video shows "
            f"{people}. The preview shows who."
        )
    return [order[index]]
