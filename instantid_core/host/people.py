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
from ..faces.references import AS_USUAL, LookSettings, references_of
from ..fitting import Fit
from ..identity import Identity, NoIdentity, checked_identity, refuse_other_family
from ..keypoints import NO_KEYPOINTS, Keypoints, checked
from ..log import note, note_problem, tell, warn
from ..people import BY_PLACE, NOBODY, People, Person, choose_faces, same_face
from ..regions import FaceRegion, Outline
from ..weighting import WeightCurve
from . import rows
from .faces import encode_references, watched
from .loading import Adapter
from .on_node import current_node
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
        note_problem(f"This person is left out of the list. {identity.reason}")
        return before
    own = checked_identity(identity, "face_embeds")
    _refuse_mixture(before, own, "face_embeds")
    if keypoints is None and mask is None:
        raise WrongInputError(f"{NO_KEYPOINTS} A mask says it too.")
    number = len(before.persons)
    faces = None
    if keypoints is not None:
        faces = choose_faces(checked(keypoints), settings.order, settings.index, number)
        shared = _shared_face_text(before, faces)
        if shared and mask is None:
            warn(shared)
    checked_mask = masks.checked(mask)
    if masks.is_all(checked_mask, 0.0):
        tell(f"Person {number + 1} is drawn nowhere: its mask is empty.")
    note(f"person {number + 1} of the list")
    return before.with_one_more(_person(own, faces, checked_mask, settings))


def person_from_photos(
    analyzer: FaceAnalyzer,
    adapter: Adapter,
    portrait: Tensor,
    pose: Tensor,
    settings: PersonSettings,
    people: object = None,
    look: LookSettings = AS_USUAL,
) -> tuple[People, Tensor]:
    """Return the list with the person of a portrait at a face of a pose photo, and a preview.

    portrait, pose: IMAGE (B,H,W,3); several portraits are several references. look: how to look at
    the pose photo.
    Raises NoFaceError, WrongInputError.
    """
    before = checked_people(people)
    encoded = encode_references(analyzer, adapter, references_of(portrait, "", Pick()))
    identity = checked_identity(encoded.identity, "portrait")
    _refuse_mixture(before, identity, "portrait")
    if settings.order == MOST_LIKE:
        like = identity.face_embedding.numpy()
        pick = Pick(MOST_LIKE, max(settings.index, 0), like, identity.channel_order)
        faces, preview = find_keypoints(analyzer, pose, pick, settings=look, watched=watched)
    else:
        every, preview = find_keypoints(
            analyzer, pose, Pick(ALL_FACES), settings=look, watched=watched
        )
        faces = choose_faces(every, settings.order, settings.index, len(before.persons))
    shared = _shared_face_text(before, faces)
    if shared:
        raise WrongInputError(shared)
    note(f"person {len(before.persons) + 1} of the list")
    return before.with_one_more(_person(identity, faces, None, settings)), preview


def _refuse_mixture(before: People, identity: Identity, name: str) -> None:
    """Raise WrongInputError where the list is of people for another family."""
    for person in before.persons[:1]:
        refuse_other_family(identity, person.identity.family, name, "the list of people")


def _shared_face_text(before: People, faces: Keypoints) -> str:
    """Say that somebody in the list has the same face of the same photo; empty if nobody has."""
    for place, other in enumerate(before.persons):
        if other.faces is not None and other.mask is None and same_face(other.faces, faces):
            return (
                f"Person {len(before.persons) + 1} has the same face of the pose photo as person "
                f"{place + 1}, so both would be drawn in one place. Use a pose photo with a face "
                "for everybody, or choose another face with `order` and `index`."
            )
    return ""


def _person(
    identity: Identity, faces: Keypoints | None, mask: masks.Mask | None, settings: PersonSettings
) -> Person:
    weight = checks.number(settings.weight, "weight")
    strength = checks.number(settings.strength, "strength")
    return Person(identity, faces, mask, settings.outline, weight, strength)


def region_for(
    identity: object,
    keypoints: object,
    fit: Fit,
    outline: Outline,
    curve: WeightCurve | None = None,
) -> masks.Region | None:
    """Return the region of the faces, for one person; None for people, who have their own.

    curve: a factor on padding and feather over the sampling.
    """
    if isinstance(identity, (People, NoIdentity)):
        return None
    return FaceRegion(checked(keypoints), fit, outline, curve)


def checked_opening(
    curve: object, identity: object, outline: Outline, *, face_region: bool
) -> WeightCurve | None:
    """Return the curve over which face regions open or close; say where it changes nothing.

    outline: of one person's region. face_region: whether one person has a region.
    Raises WrongInputError.
    """
    opening = checks.part(WeightCurve, curve, "region_curve", "Weight Curve for InstantID")
    if opening is None or isinstance(identity, NoIdentity):
        return opening
    if isinstance(identity, People):
        outlines = [person.outline for person in identity.persons if person.mask is None]
    else:
        outlines = [outline] if face_region else []
    if not any(one.is_scalable for one in outlines):
        warn(
            "region_curve changes nothing: it is a factor on the padding and feather of face "
            "regions, and here "
            + ("both are 0." if outlines else "InstantID works without a face region.")
        )
    return opening


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
        note_problem(f"The conditioning carries no person. {identity.reason}")
        return conditioning
    own = checked_identity(identity, "face_embeds")
    weight = checks.number(weight, "weight")
    if weight < 0 and weight != rows.AS_ON_MODEL:
        raise WrongInputError(
            f"The weight of this conditioning's person is {weight:g}. Wanted: 0 or more, or "
            f"{rows.AS_ON_MODEL:g} for the weight of the person on the model."
        )
    if weight == 0:
        tell("The weight is 0: where this conditioning works, the adapter draws nobody.")
    conditioning = checks.conditioning(conditioning, "conditioning")
    person = rows.CarriedPerson(own, weight, current_node())
    return [
        [text, {**with_sampling_hook(options), rows.PERSON: person}]
        for text, options in conditioning
    ]
