"""From pictures to what nodes hand on: the face embedding of a person, or keypoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..embeddings import MEAN, combine_embeddings
from ..images import ChannelOrder, Picture, to_images, to_pictures
from ..keypoints import FacePoints, Keypoints
from ..log import note
from .analyzer import FaceAnalyzer
from .frames import fill_frames
from .pick import ALL_FACES, Pick
from .previews import draw_preview, largest_preview, same_size
from .records import FoundFace
from .references import (
    AS_USUAL,
    Choice,
    LookSettings,
    Reference,
    checked_references,
    choose_face,
    keep_found,
    named,
    report,
)

Item = TypeVar("Item")
Each = TypeVar("Each", covariant=True)


class Counted(Protocol[Each]):
    """Items of which one can say, at least roughly, how many there are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Each]: ...


class Watched(Protocol):
    """Hands on items one by one, and may show how far it is, or stop."""

    def __call__(self, items: Counted[Item], /) -> Iterable[Item]:
        """Return the same items."""
        ...


def unwatched(items: Counted[Item]) -> Iterable[Item]:
    """Return the items as they are: nobody watches."""
    return items


@dataclass(frozen=True, eq=False)
class FoundPerson:
    """The person of some references.

    face_embedding: (512,) float32, raw; None where on_missing is "bypass" and no reference has the
    face, and then `problem` says why. preview: (B,H,W,3) IMAGE, one picture for each reference.
    report: text for the user.
    """

    face_embedding: Tensor | None
    preview: Tensor
    report: str
    problem: str = ""


def find_person(
    analyzer: FaceAnalyzer,
    references: Sequence[Reference],
    *,
    combine: str = MEAN,
    on_missing: str = "error",
    settings: LookSettings = AS_USUAL,
    watched: Watched = unwatched,
    order: ChannelOrder = ChannelOrder.BGR,
) -> FoundPerson:
    """Find the person in each reference and combine what the recogniser says of them.

    combine: one of embeddings.COMBINES. on_missing: one of references.ON_MISSING. watched: told of
    every picture looked at. order: of the channels that the recogniser is given.

    Raises NoFaceError, WrongInputError.
    """
    references = named(checked_references(references))
    choices = [choose_face(analyzer, one, settings) for one in watched(references)]
    kept = keep_found(choices, on_missing)
    embeddings = {
        n: analyzer.embed(references[n].picture, choices[n].face, order) for n in watched(kept)
    }
    chosen = [() if choice.chosen is None else (choice.chosen,) for choice in choices]
    preview = _drawn([reference.picture for reference in references], choices, chosen)
    text = report(references, choices, embeddings)
    if not kept:
        return FoundPerson(None, preview, text, choices[0].problem)
    stacked = torch.from_numpy(np.stack([embeddings[n] for n in kept]))  # (M,512)
    face = combine_embeddings(stacked, [references[n].weight for n in kept], combine)
    return FoundPerson(face, preview, text)


def find_keypoints(
    analyzer: FaceAnalyzer,
    images: Tensor,
    pick: Pick,
    *,
    on_missing: str = "error",
    settings: LookSettings = AS_USUAL,
    watched: Watched = unwatched,
) -> tuple[Keypoints, Tensor]:
    """Return the keypoints of every frame of an IMAGE batch, and the preview.

    pick: which face of each frame; with mode ALL_FACES every face, from left to right.
    on_missing: one of frames.ON_MISSING_FRAME. watched: told of every picture looked at.

    Raises NoFaceError, WrongInputError.
    """
    every = pick.mode == ALL_FACES
    wanted = Pick("left_to_right") if every else pick
    pictures = to_pictures(images)
    references = named([Reference(picture, "", 1.0, wanted) for picture in pictures])
    choices = [choose_face(analyzer, one, settings) for one in watched(references)]
    chosen = [_numbers(choice, every) for choice in choices]
    faces = [[choice.faces[n] for n in own] for choice, own in zip(choices, chosen, strict=True)]
    found = [
        tuple(points_of(analyzer, picture, face, settings) for face in own)
        for picture, own in zip(_again(pictures, settings, watched), faces, strict=True)
    ]
    frames = fill_frames(found, [choice.problem for choice in choices], on_missing)
    height, width = pictures[0].shape[:2]
    note(_count_text(frames))
    return Keypoints(width, height, frames), _drawn(pictures, choices, chosen)


def points_of(
    analyzer: FaceAnalyzer, picture: Picture, face: FoundFace, settings: LookSettings
) -> FacePoints:
    """Return the points of a face of a picture, with its landmarks where they are asked for."""
    if not settings.landmarks:
        return face.points
    return replace(face.points, landmarks=analyzer.landmarks(picture, face))


def _again(
    pictures: Sequence[Picture], settings: LookSettings, watched: Watched
) -> Iterable[Picture]:
    """Return the pictures; watched where they are looked at for landmarks."""
    return watched(pictures) if settings.landmarks else pictures


def _count_text(frames: Sequence[Sequence[object]]) -> str:
    """Say how many faces there are in how many frames."""
    count = sum(map(len, frames))
    faces = "1 face" if count == 1 else f"{count} faces"
    return faces if len(frames) == 1 else f"{faces} in {len(frames)} frames"


def _numbers(choice: Choice, every: bool) -> tuple[int, ...]:
    if choice.chosen is None:
        return ()
    return tuple(range(len(choice.faces))) if every else (choice.chosen,)


def _drawn(
    pictures: Sequence[Picture], choices: Sequence[Choice], chosen: Sequence[Sequence[int]]
) -> Tensor:
    largest = largest_preview(len(pictures))
    drawn = [
        draw_preview(picture, choice.faces, numbers, _note(choice), largest)
        for picture, choice, numbers in zip(pictures, choices, chosen, strict=True)
    ]
    return to_images(same_size(drawn))


def _note(choice: Choice) -> str:
    return "" if choice.faces else "no face found"
