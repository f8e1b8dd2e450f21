"""Which of the faces of a picture is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import checks
from ..embeddings import mean_of_references
from ..errors import WrongInputError
from ..identity import checked_identity
from ..images import ChannelOrder, Picture
from .analyzer import Embedding, FaceAnalyzer
from .records import FoundFace

LARGEST = "largest"
MOST_LIKE = "most_like"
PICKS = (
    LARGEST,
    "left_to_right",
    "top_to_bottom",
    "highest_score",
    "nearest_center",
    MOST_LIKE,
)
ALL_FACES = "all"  # a mode for keypoints only: every face, from left to right


@dataclass(frozen=True, eq=False)
class Pick:
    """The order faces are numbered in, and the number of the one that is meant.

    mode: one of PICKS. index: counted from 0. like: a face embedding (512,), for most_like.
    order: of the channels of the photos that `like` is from.
    """

    mode: str = LARGEST
    index: int = 0
    like: Embedding | None = None
    order: ChannelOrder = ChannelOrder.BGR


LARGEST_FACE = Pick()


def make_pick(mode: str, index: int, like: object = None) -> Pick:
    """Return the pick of a node's widgets.

    like: what a FACE_EMBEDS socket brought, or None; of several references kept apart the mean.
    Raises WrongInputError where `like` is not an identity.
    """
    if like is None:
        return Pick(mode, index)
    person = checked_identity(like, "like")
    face = mean_of_references(person.face_embedding).numpy()
    return Pick(mode, index, face, person.channel_order)


def likeness(a: Embedding, b: Embedding) -> float:
    """Return the cosine of two face embeddings, -1..1; one person's photos are at about 0.4 to 0.8.

    Both are from photos whose channels were in one order.

    a, b: (512,), any length. 0 where one of them is all zeros.
    """
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths > 0 else 0.0


def rank_faces(
    analyzer: FaceAnalyzer, picture: Picture, faces: tuple[FoundFace, ...], pick: Pick
) -> tuple[FoundFace, ...]:
    """Return the faces in the order of `pick.mode`; only most_like runs the recogniser.

    Raises WrongInputError for an unknown mode, or most_like without an identity.
    """
    height, width = picture.shape[:2]

    def off_center(face: FoundFace) -> float:
        x, y = face.center
        return (x - width / 2) ** 2 + (y - height / 2) ** 2

    def unlike(face: FoundFace) -> float:
        if pick.like is None:
            raise WrongInputError(
                "pick is most_like, but there is no identity to be like. Connect one to `like`, "
                "or choose another pick."
            )
        return -likeness(analyzer.embed(picture, face, pick.order), pick.like)

    keys: dict[str, Callable[[FoundFace], float]] = {
        LARGEST: lambda face: -face.area,
        "left_to_right": lambda face: face.center[0],
        "top_to_bottom": lambda face: face.center[1],
        "highest_score": lambda face: -face.score,
        "nearest_center": off_center,
        MOST_LIKE: unlike,
    }
    if pick.mode not in PICKS:
        raise checks.unknown("pick", pick.mode, PICKS)
    return tuple(sorted(faces, key=keys[pick.mode]))
