"""From portraits and keypoints to a list of people, and people onto single conditionings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .. import checks, masks
from ..errors import WrongInputError
from ..faces import FaceAnalyzer, Pick
from ..faces.finding import find_keypoints
from ..faces.pick import ALL_FACES, MOST_LIKE
from ..faces.references import references_of
from ..fitting import Fit
from ..identity import Identity, NoIdentity, checked_identity
from ..keypoints import Keypoints, checked
from ..log import log
from ..people import BY_PLACE, NOBODY, People, Person, choose_faces
from ..regions import FaceRegion, Outline
from . import rows
from .faces import encode_references, watched
from .loading import Adapter
from .sampling import with_sampling_hook


@dataclass(frozen=True)
class PersonSettings:
    """Which face of a pose photo is a person's, and how much the person counts.

    order: one of people.ORDERS, or MOST_LIKE where the photo itself is given. index: from 0, or
    BY_PLACE. outline: of the person's region. weight, strength: factors.
    """

    order: str
    index: int = BY_PLACE
    outline: Outline = Outline()
    weight: float = 1.0
    strength: float = 1.0


def checked_people(people: object) -> People:
    """Return a list of people, empty for None. Raises WrongInputError for anything else."""
    if people is None:
        return NOBODY
    if isinstance(people, People):
        return people
    raise WrongInputError(
        f"The list of people is {checks.kind_of(people)}. Connect the output of Person."
    )


def with_person(
    people: object,
    identity: object,
    keypoints: object,
    mask: Tensor | None,
    settings: PersonSettings,
) -> People:
    """Return the list with one more person; a bypassed identity leaves it as it is.

    people: what the socket brought, None for the first. keypoints: of a pose photo, or None.
    mask: (H,W) or (B,H,W) in 0..1, or None.
    Raises WrongInputError.
    """
    before = checked_people(people)
    if isinstance(identity, NoIdentity):
        log.warning("This person is left out of the list. %s", identity.reason)
        return before
    own = checked_identity(identity, "face_embeds")
    if keypoints is None and mask is None:
        raise WrongInputError(
            "This person has neither keypoints nor a mask, so nothing says where they are. Connect "
            "Face Keypoints (pick = all), Place Keypoints, or a mask."
        )
    number = len(before.persons)
    faces = None
    if keypoints is not None:
        faces = choose_faces(checked(keypoints), settings.order, settings.index, number)
    return before.with_one_more(_person(own, faces, masks.checked(mask), settings))


def person_from_photos(
    analyzer: FaceAnalyzer,
    adapter: Adapter,
    portrait: Tensor,
    pose: Tensor,
    settings: PersonSettings,
    people: object = None,
) -> tuple[People, Tensor]:
    """Return the list with the person of a portrait at a face of a pose photo, and a preview.

    portrait, pose: IMAGE (B,H,W,3); several portraits are several references.
    Raises NoFaceError, WrongInputError.
    """
    before = checked_people(people)
    encoded = encode_references(analyzer, adapter, references_of(portrait, "", Pick()))
    identity = checked_identity(encoded.identity, "portrait")
    if settings.order == MOST_LIKE:
        like = identity.face_embedding.numpy()
        pick = Pick(MOST_LIKE, max(settings.index, 0), like)
        faces, preview = find_keypoints(analyzer, pose, pick, watched=watched)
    else:
        every, preview = find_keypoints(analyzer, pose, Pick(ALL_FACES), watched=watched)
        faces = choose_faces(every, settings.order, settings.index, len(before.persons))
    return before.with_one_more(_person(identity, faces, None, settings)), preview


def _person(
    identity: Identity, faces: Keypoints | None, mask: masks.Mask | None, settings: PersonSettings
) -> Person:
    weight = checks.number(settings.weight, "weight")
    strength = checks.number(settings.strength, "strength")
    return Person(identity, faces, mask, settings.outline, weight, strength)


def region_for(
    identity: object, keypoints: object, fit: Fit, outline: Outline
) -> masks.Region | None:
    """Return the region of the faces, for one person; None for people, who have their own."""
    if isinstance(identity, (People, NoIdentity)):
        return None
    if keypoints is None:
        raise WrongInputError(
            "There are no keypoints, so nothing says where the face is. Connect Face Keypoints or "
            "Place Keypoints."
        )
    return FaceRegion(checked(keypoints), fit, outline)


def carry_person(
    conditioning: list[Any], identity: object, weight: float = rows.AS_ON_MODEL
) -> list[Any]:
    """Return a conditioning whose rows the adapter draws with this person instead of the model's.

    weight: of the adapter for this person, 0 or more; AS_ON_MODEL is the first person's on the
    model. The person works in all of the conditioning's part. The conditioning given stays as it
    is. A bypassed identity hands it on.
    Raises WrongInputError.
    """
    if isinstance(identity, NoIdentity):
        log.warning("The conditioning carries no person. %s", identity.reason)
        return conditioning
    own = checked_identity(identity, "face_embeds")
    weight = checks.number(weight, "weight")
    if weight < 0 and weight != rows.AS_ON_MODEL:
        raise WrongInputError(
            f"The weight of this conditioning's person is {weight:g}. Wanted: 0 or more, or "
            f"{rows.AS_ON_MODEL:g} for the weight of the person on the model."
        )
    conditioning = checks.conditioning(conditioning, "conditioning")
    person = rows.CarriedPerson(own, weight)
    return [
        [text, {**with_sampling_hook(options), rows.PERSON: person}]
        for text, options in conditioning
    ]
