"""Several people in one picture: who they are, which face and which part of it is whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from . import checks, masks
from .errors import WrongInputError
from .fitting import Fit, fit
from .identity import Identity
from .keypoints import FacePoints, Keypoints, only_frames
from .masks import Mask, Region
from .regions import OFFICIAL, Outline, draw_regions
from .weighting import WeightCurve

BY_PLACE = -1  # of `choose_faces`: each person takes the face of their own place in the list


@dataclass(frozen=True, eq=False)
class Person:
    """One of several people.

    faces: their own face in every frame of a pose photo or video; None if only `mask` says where
    they are. mask: where they may work, (F,H,W) float32 in 0..1 or a Region; None is the region
    of their face. outline: how that region is made of the face. weight, strength: factors on the
    adapter's weight and on IdentityNet's strength.
    """

    identity: Identity
    faces: Keypoints | None = None
    mask: Mask | None = None
    outline: Outline = field(default=OFFICIAL)
    weight: float = 1.0
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class People:
    """What a list of people carries; their order is the order they were added in."""

    persons: tuple[Person, ...]

    def with_one_more(self, person: Person) -> People:
        """Return a longer list; this one stays as it is."""
        return People((*self.persons, person))


NOBODY = People(())

_ORDERS: dict[str, Callable[[FacePoints], float]] = {
    "left_to_right": lambda face: float(face.box[0] + face.box[2]),
    "top_to_bottom": lambda face: float(face.box[1] + face.box[3]),
    "largest": lambda face: -float((face.box[2] - face.box[0]) * (face.box[3] - face.box[1])),
}
ORDERS = tuple(_ORDERS)


def choose_faces(keypoints: Keypoints, order: str, index: int, place: int) -> Keypoints:
    """Return keypoints with one face per frame: the one with the number `index` in an order.

    order: one of ORDERS. index: from 0; BY_PLACE takes `place`, the person's place in the list.
    Where no frame has more than one face, it is taken whatever the number. A frame with fewer
    faces than that has none for this person.
    Raises WrongInputError if no frame has such a face.
    """
    if order not in ORDERS:
        raise checks.unknown("order", order, ORDERS)
    most = max(len(frame) for frame in keypoints.frames)
    number = place if index == BY_PLACE else index
    if most == 1 and index == BY_PLACE:
        number = 0
    if not 0 <= number < most:
        raise WrongInputError(
            f"Person {place + 1} would take face number {number} ({order}, counted from 0), but "
            f"the keypoints hold {most} face{'' if most == 1 else 's'} at most. Use a pose photo "
            "with a face for everybody (pick = all in Face Keypoints), another number, or a mask "
            "instead of keypoints."
        )
    return replace(
        keypoints, frames=tuple(ordered(f, order)[number:][:1] for f in keypoints.frames)
    )


def ordered(faces: Sequence[FacePoints], order: str) -> tuple[FacePoints, ...]:
    """Return the faces of a frame in one of ORDERS. Raises WrongInputError for another."""
    if order not in ORDERS:
        raise checks.unknown("order", order, ORDERS)
    return tuple(sorted(faces, key=_ORDERS[order]))


def same_face(a: Keypoints, b: Keypoints) -> bool:
    """Say whether two people's keypoints are the same face of pictures of the same size.

    They are if it holds in a frame of both; frames without a face say nothing.
    """
    if (a.width, a.height) != (b.width, b.height):
        return False
    pairs = zip(a.frames, b.frames, strict=False)
    return any(
        np.array_equal(one.kps, other.kps)
        for own, others in pairs
        for one in own
        for other in others
    )


def fitted_faces(
    people: Sequence[Person], width: int, height: int, mode: Fit
) -> list[Keypoints | None]:
    """Return each person's faces on a canvas of `width` x `height`; None for who has none.

    Faces from pictures of one size are taken to be of one pose photo: they share one cut, so that
    people keep their places to each other.
    """
    found: list[Keypoints | None] = [None] * len(people)
    sizes = {(p.faces.width, p.faces.height) for p in people if p.faces is not None}
    for size in sizes:
        group = {
            i: person.faces
            for i, person in enumerate(people)
            if person.faces is not None and (person.faces.width, person.faces.height) == size
        }
        together = Keypoints(*size, (tuple(f for kps in group.values() for f in kps.faces),))
        moved = iter(fit(together, width, height, mode).faces)
        for i, kps in group.items():
            frames = tuple(tuple(next(moved) for _ in frame) for frame in kps.frames)
            found[i] = Keypoints(width, height, frames)
    return found


def all_faces(people: Sequence[Person], width: int, height: int, mode: Fit) -> Keypoints:
    """Return everybody's faces on one canvas, frame by frame; a shorter video starts over."""
    each = [kps for kps in fitted_faces(people, width, height, mode) if kps is not None]
    count = max((len(kps.frames) for kps in each), default=1)
    frames = tuple(
        tuple(face for kps in each for face in kps.frames[n % len(kps.frames)])
        for n in range(count)
    )
    return Keypoints(width, height, frames)


class PeopleMasks:
    """Where each of several people may work: masks that sum to at most 1.

    Where masks overlap they are divided in proportion; what no mask covers belongs to nobody.
    """

    def __init__(
        self,
        people: Sequence[Person],
        mode: Fit,
        limit: Mask | None = None,
        curve: WeightCurve | None = None,
    ) -> None:
        """Say whose masks they are.

        limit: a mask on top of everybody's own, for all of them. curve: a factor on padding and
        feather of the regions of their faces, over the sampling.
        """
        self._people = tuple(people)
        self._fit = mode
        self._limit = limit
        self._curve = curve

    @property
    def frame_count(self) -> int:
        """The frames of the longest of everybody's masks; shorter ones start over."""
        counts = [_own_frame_count(person) for person in self._people]
        if self._limit is not None:
            counts.append(masks.frame_count(self._limit))
        return max(counts)

    @property
    def changes(self) -> bool:
        """Whether they are others at other moments of the sampling."""
        if masks.changes(self._limit):
            return True
        scalable = (
            p.outline.is_scalable for p in self._people if p.mask is None and p.faces is not None
        )
        return self._curve is not None and any(scalable)

    def at(self, percent: float) -> PeopleMasks:
        """Return them as they are at a percent of the sampling, 0..1."""
        limit = self._limit.at(percent) if isinstance(self._limit, Region) else self._limit
        people: Sequence[Person] = self._people
        if self._curve is not None:
            factor = self._curve.at(percent)
            people = [replace(p, outline=p.outline.scaled(factor)) for p in people]
        return PeopleMasks(people, self._fit, limit)

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return (P,F,height,width) float32 in 0..1, on the CPU; sums over P are at most 1.

        frames: which ones, each below `frame_count`; None is all of them.
        """
        frames = range(self.frame_count) if frames is None else frames
        fitted = fitted_faces(self._people, width, height, self._fit)
        own = [
            _own_mask(person, faces, width, height, frames)
            for person, faces in zip(self._people, fitted, strict=True)
        ]
        stacked = torch.stack(own)
        stacked = stacked / stacked.sum(dim=0).clamp(min=1.0)
        if self._limit is None:
            return stacked
        return stacked * _sized(self._limit, width, height, frames)


@dataclass(frozen=True, eq=False)
class PersonRegion(Region):
    """The part of a picture that is one person's, as soon as its size is known."""

    everybody: PeopleMasks
    index: int

    @property
    def frame_count(self) -> int:
        """As everybody's together."""
        return self.everybody.frame_count

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32 in 0..1, CPU."""
        return self.everybody.render(width, height, frames)[self.index]

    @property
    def changes(self) -> bool:
        """As everybody's together."""
        return self.everybody.changes

    def at(self, percent: float) -> PersonRegion:
        """Return the region as it is at a percent of the sampling, 0..1."""
        return PersonRegion(self.everybody.at(percent), self.index)


@dataclass(frozen=True, eq=False)
class PeopleRegion(Region):
    """The parts of a picture that are anybody's, each with a factor: where people's sum acts."""

    everybody: PeopleMasks
    factors: tuple[float, ...]

    @property
    def frame_count(self) -> int:
        """As everybody's together."""
        return self.everybody.frame_count

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> Tensor:
        """Return the mask for a picture of that size: (F,height,width) float32, CPU."""
        factors = torch.tensor(self.factors).view(-1, 1, 1, 1)
        return (self.everybody.render(width, height, frames) * factors).sum(dim=0)

    @property
    def changes(self) -> bool:
        """As everybody's together."""
        return self.everybody.changes

    def at(self, percent: float) -> PeopleRegion:
        """Return the region as it is at a percent of the sampling, 0..1."""
        return PeopleRegion(self.everybody.at(percent), self.factors)


def _own_frame_count(person: Person) -> int:
    if person.mask is not None:
        return masks.frame_count(person.mask)
    return 1 if person.faces is None else len(person.faces.frames)


def _own_mask(
    person: Person, faces: Keypoints | None, width: int, height: int, frames: Sequence[int]
) -> Tensor:
    """(F,height,width): a person's mask before what overlaps is divided."""
    if person.mask is not None:
        return _sized(person.mask, width, height, frames)
    if faces is None:
        return torch.ones(len(frames), height, width)
    own = only_frames(faces, [frame % len(faces.frames) for frame in frames])
    return draw_regions(own, person.outline)


def _sized(mask: Mask, width: int, height: int, frames: Sequence[int]) -> Tensor:
    """(F,height,width): frames of a mask; a shorter one starts over."""
    count = masks.frame_count(mask)
    own = masks.rendered(mask, width, height, [frame % count for frame in frames])
    return masks.resized(own, height, width)
