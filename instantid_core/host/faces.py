"""Pictures to an identity, with ComfyUI's progress bar and its stop button."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

from .. import checks
from ..embeddings import MEAN, combine_embeddings, mean_of_references, negative_noise
from ..errors import WrongInputError
from ..faces import FaceAnalyzer
from ..faces.finding import Counted, find_person
from ..faces.references import AS_USUAL, LookSettings, Reference
from ..identity import (
    FrameIdentities,
    Identity,
    NoIdentity,
    checked_identity,
    over_frames,
    refuse_other_family,
)
from ..identity_file import load_embeddings
from ..log import note_problem, warn
from .encode import encode_identity, own_adapter
from .loading import Adapter

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class EncodedFace:
    """What Encode Face gives out. preview: (B, H, W, 3) IMAGE, one picture per reference."""

    identity: Identity | NoIdentity
    preview: Tensor
    report: str


def watched(items: Counted[Item]) -> Iterator[Item]:
    """Yield the items, moving the progress bar; stops where the user pressed stop."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)


def encode_references(
    analyzer: FaceAnalyzer,
    adapter: Adapter,
    references: Sequence[Reference],
    *,
    combine: str = MEAN,
    on_missing: str = "error",
    settings: LookSettings = AS_USUAL,
    noise: float = 0.0,
    noise_seed: int = 0,
    negative: Tensor | None = None,
) -> EncodedFace:
    """Find the person in each reference, combine, and encode for an adapter.

    combine: one of embeddings.COMBINES. on_missing: one of references.ON_MISSING. noise: 0..1 of
    uniform noise in the negative embedding. negative: (512,), what else stands there. 0 and None
    are the published method.

    Raises NoFaceError, WrongInputError.
    """
    noise = checks.number(noise, "negative_noise")
    adapter = own_adapter(adapter)
    found = find_person(
        analyzer,
        references,
        combine=combine,
        on_missing=on_missing,
        settings=settings,
        watched=watched,
        order=adapter.family.channel_order,
    )
    face = found.face_embedding
    if face is None:
        reason = f"Encode Face found nobody. {found.problem}"
        warn(f"The graph runs without this identity. {reason}")
        return EncodedFace(NoIdentity(reason), found.preview, found.report)
    if noise:
        negative = _sum(negative_noise(face, noise, noise_seed), negative)
    return EncodedFace(encode_identity(adapter, face, negative), found.preview, found.report)


def negative_side(adapter: object, identity: object, weight: float) -> Tensor | None:
    """Return the embedding between zeros (weight 0) and an identity's face (1): (512,) or None.

    adapter: the one that the embedding is for. identity: what a FACE_EMBEDS socket brought; None
    and a bypassed one give None. Raises WrongInputError.
    """
    if isinstance(identity, NoIdentity):
        note_problem(f"No negative identity is used. {identity.reason}")
        return None
    weight = checks.number(weight, "negative_weight")
    if identity is None or weight == 0:
        return None
    person = _checked(own_adapter(adapter), identity, "negative_identity")
    return mean_of_references(person.face_embedding) * weight


def _checked(adapter: Adapter, identity: object, name: str) -> Identity:
    """Return what a FACE_EMBEDS socket brought, if its embedding is one that the adapter takes."""
    person = checked_identity(identity, name)
    refuse_other_family(person, adapter.family, name, "the adapter")
    return person


def _sum(one: Tensor, other: Tensor | None) -> Tensor:
    return one if other is None else one + other


def mix_identities(
    adapter: Adapter,
    first: object,
    second: object,
    amount: float,
    combine: str = MEAN,
    negative: Tensor | None = None,
) -> Identity | NoIdentity:
    """Return the identity between two, encoded for an adapter.

    first, second: what FACE_EMBEDS sockets brought. amount: 0 is the first, 1 the second. A
    bypassed one gives a bypassed mix. References kept apart are combined first. negative: (512,),
    what stands on the negative side besides the two's own.

    Raises WrongInputError.
    """
    bypassed = _bypassed("Mix Identities", first, second)
    if bypassed is not None:
        return bypassed
    adapter = own_adapter(adapter)
    a, b = _checked(adapter, first, "first"), _checked(adapter, second, "second")
    return _mixed(adapter, a, b, checks.number(amount, "amount"), combine, negative)


def _bypassed(node: str, *identities: object) -> NoIdentity | None:
    """Return the first one that was bypassed, and say that the node hands it on."""
    found = next((one for one in identities if isinstance(one, NoIdentity)), None)
    if found is not None:
        note_problem(f"{node} hands on a bypassed identity. {found.reason}")
    return found


def _mixed(
    adapter: Adapter,
    a: Identity,
    b: Identity,
    amount: float,
    combine: str = MEAN,
    negative: Tensor | None = None,
) -> Identity:
    weights = (1.0 - amount, amount)
    faces = torch.stack([mean_of_references(one.face_embedding) for one in (a, b)])  # (2,512)
    negatives = torch.stack([mean_of_references(one.negative_embedding) for one in (a, b)])
    face = combine_embeddings(faces, weights, combine)
    both = _sum(combine_embeddings(negatives, weights), negative)
    return encode_identity(adapter, face, both if both.any() else None)


MOST_MIXED = 16  # identities of a change over many frames: as many K and V are held, 5 MB each


def change_identity(
    adapter: Adapter, before: object, after: object, frame: int, over: int
) -> FrameIdentities | NoIdentity:
    """Return who is shown by frame: `before`, and from a frame on `after`.

    before, after: what FACE_EMBEDS sockets brought; before may change itself. frame: from 0, where
    the change begins. over: how many frames it takes; in them faces are mixed evenly, in at most
    MOST_MIXED steps. 0 is at once. A bypassed one gives a bypassed change.

    Raises WrongInputError.
    """
    bypassed = _bypassed("Change Identity", before, after)
    if bypassed is not None:
        return bypassed
    adapter = own_adapter(adapter)
    earlier, new = over_frames(before, "before"), _checked(adapter, after, "after")
    for own in earlier.each:
        refuse_other_family(own, adapter.family, "before", "the adapter")
    start, length = int(checks.number(frame, "frame")), int(checks.number(over, "over"))
    if start < 0 or length < 0:
        raise WrongInputError(
            f"The change begins at frame {start} and takes {length} frames. Wanted: two whole "
            "numbers from 0 on."
        )
    old = earlier.each[earlier.number(start)]
    steps = max(1, min(length, MOST_MIXED))
    mixed = [_mixed(adapter, old, new, step / steps) for step in range(1, steps)]
    each = (*earlier.each, *mixed, new)
    if len({own.positive.tokens.shape for own in each}) > 1:
        raise WrongInputError(
            "The faces before and after are of other numbers of references kept apart, or of "
            "another adapter file. Encode both with the same adapter, and with combine = mean."
        )
    kept = [earlier.number(n) for n in range(start)]
    between = [step * steps // max(length, 1) for step in range(length)]
    first = len(earlier.each)
    way = [earlier.number(start) if step == 0 else first + step - 1 for step in between]
    return FrameIdentities(each, (*kept, *way, len(each) - 1))


def load_identity(adapter: Adapter, path: Path) -> Identity:
    """Return a saved identity, encoded again for an adapter. Raises as load_embeddings does."""
    adapter = own_adapter(adapter)
    face, negative, family = load_embeddings(path)
    if family != adapter.family:
        raise WrongInputError(
            f"{path.name} is a face for {family.name}, the adapter is for {adapter.family.name}, "
            "and the two look at photos in another way. Load the adapter of "
            f"{family.name} ({family.files}), or encode the photo again with this one."
        )
    return encode_identity(adapter, face, negative if bool(negative.any()) else None)
