"""How much pictures look like a person, and which of them do most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..embeddings import mean_of_references
from ..errors import WrongInputError
from ..identity import checked_identity
from ..images import ChannelOrder, Picture, image_batch, to_images, to_pictures
from ..log import note, warn
from .analyzer import Embedding, FaceAnalyzer
from .finding import Watched, unwatched
from .pick import MOST_LIKE, Pick, likeness
from .previews import draw_score, largest_preview
from .references import AS_USUAL, LookSettings, Reference, choose_face, named, references_of

NO_FACE = -1.0  # what a picture without a face counts
LISTED = 8  # numbers of pictures that a warning names

FLATTERS = (
    "Scored with the recogniser that InstantID was trained on: it flatters. Another `recogniser` "
    "is a fairer judge."
)


@dataclass(frozen=True, eq=False)
class Judge:
    """Who scores. is_own: whether with the recogniser that identities are made with."""

    analyzer: FaceAnalyzer
    is_own: bool


def judge_of(analyzer: FaceAnalyzer, recogniser: Path | None) -> Judge:
    """Return who scores: the analyzer itself, or its detector with the recogniser of a file.

    Raises WrongFileError for a file that cannot be opened.
    """
    if recogniser is None:
        return Judge(analyzer, is_own=True)
    return Judge(analyzer.with_recogniser(recogniser), is_own=False)


@dataclass(frozen=True, eq=False)
class Scores:
    """What was scored.

    values: one likeness (-1..1) for each picture, NO_FACE without a face. preview: IMAGE, the
    pictures with their scores. report: text for the user. order: the pictures' numbers, the most
    alike first, those without a face last.
    """

    values: list[float]
    preview: Tensor
    report: str
    order: list[int]


def score(
    judge: Judge,
    images: Tensor,
    identity: object = None,
    reference: Tensor | None = None,
    settings: LookSettings = AS_USUAL,
    watched: Watched = unwatched,
) -> Scores:
    """Score the pictures of an IMAGE batch by the cosine of raw face embeddings.

    identity: what a FACE_EMBEDS socket brought. reference: IMAGE, photos of the person; it counts
    before the identity. Of several faces in a picture the most alike one counts.
    Raises WrongInputError, or NoFaceError for a reference without a face.
    """
    person = _person(judge, identity, reference, settings)
    pictures = to_pictures(images)
    seen = [_seen(judge.analyzer, picture, person, settings) for picture in watched(pictures)]
    largest = largest_preview(len(pictures))
    preview = to_images([draw_score(one.picture, one.box, one.words, largest) for one in seen])
    values = [one.value for one in seen]
    order = sorted(range(len(seen)), key=lambda n: (seen[n].box is None, -values[n]))
    lines = [f"picture {number}: {one.words}" for number, one in enumerate(seen)]
    _say(seen)
    if judge.is_own:
        lines.append(FLATTERS)
        note(FLATTERS)
    return Scores(values, preview, "\n".join(lines), order)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture, the box of its most alike face or None, and what it scores."""

    picture: Picture
    box: Embedding | None
    value: float

    @property
    def words(self) -> str:
        return "no face found" if self.box is None else f"likeness {self.value:.2f}"


def _seen(
    analyzer: FaceAnalyzer, picture: Picture, person: _Person, settings: LookSettings
) -> _Seen:
    pick = Pick(MOST_LIKE, 0, person.face, person.order)
    choice = choose_face(analyzer, Reference(picture, "the picture", 1.0, pick), settings)
    if choice.chosen is None:
        return _Seen(picture, None, NO_FACE)
    face = choice.face
    seen = analyzer.embed(picture, face, person.order)
    return _Seen(picture, face.points.box, likeness(seen, person.face))


def _say(seen: Sequence[_Seen]) -> None:
    """Say on the node how alike the pictures are, and in which no face was found."""
    missing = [number for number, one in enumerate(seen) if one.box is None]
    if missing:
        some = ", ".join(map(str, missing[:LISTED])) + (", ..." if len(missing) > LISTED else "")
        warn(
            f"No face was found in {len(missing)} of {len(seen)} pictures (numbers from 0: "
            f"{some}); they have no score."
        )
    found = {one.value: number for number, one in enumerate(seen) if one.box is not None}
    if found:
        least, most = min(found), max(found)
        note(f"likeness {least:.2f} to {most:.2f}, most in picture {found[most]}")


class _Person(NamedTuple):
    """Whom to compare with: (512,), and the order of the channels of the photos it is from."""

    face: Embedding
    order: ChannelOrder


def _person(
    judge: Judge, identity: object, reference: Tensor | None, settings: LookSettings
) -> _Person:
    """The embedding to compare with, by the recogniser that scores."""
    if reference is not None:
        photos = named(references_of(reference, "", Pick()))
        analyzer = judge.analyzer
        faces = [(one.picture, choose_face(analyzer, one, settings).face) for one in photos]
        mean = np.stack([analyzer.embed(*face) for face in faces]).mean(axis=0)
        return _Person(mean, ChannelOrder.BGR)
    if not judge.is_own:
        raise WrongInputError(
            "Another recogniser scores, which knows nothing of the identity's embedding. Connect a "
            "photo of the person to `reference`, or set `recogniser` to face_analyzer."
        )
    if identity is None:
        raise WrongInputError(
            "There is nobody to compare with. Connect an identity from Encode Face, or a photo of "
            "the person to `reference`."
        )
    person = checked_identity(identity, "identity")
    return _Person(mean_of_references(person.face_embedding).numpy(), person.channel_order)


@dataclass(frozen=True, eq=False)
class Kept:
    """The pictures that were kept, IMAGE, and their numbers in the batch, the most alike first."""

    images: Tensor
    order: list[int]


def keep(scores: Scores, images: Tensor, count: int) -> Kept:
    """Return the `count` most alike pictures of an IMAGE batch, or all if there are fewer.

    Raises WrongInputError for a count below 1.
    """
    if not count >= 1:
        raise WrongInputError(f"count is {count}; 1 or more pictures can be kept.")
    order = scores.order[:count]
    note(f"kept {', '.join(map(str, order))}")
    best = torch.nan_to_num(image_batch(images)[order], nan=0.0, posinf=1.0, neginf=0.0)
    return Kept(best, order)
