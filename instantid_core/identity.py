"""The frozen Identity: what a FACE_EMBEDS socket carries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from . import checks
from .errors import WrongInputError
from .images import ChannelOrder
from .unet_layout import SDXL, Family


@dataclass(frozen=True, eq=False)
class IdentitySide:
    """One side of an identity, positive or negative, projected once for every slot.

    tokens: (1, N, D) float32 on the CPU; N is 16 per reference kept, D the context width (2048).
    kv: (N * 2 * sum of C over the slots,) float32 on the CPU; slot after slot in the order of
    `unet_layout`, each first K then V, each (N, C) row-major.
    """

    tokens: Tensor
    kv: Tensor


@dataclass(frozen=True, eq=False)
class Identity:
    """A face, encoded for one adapter file; never changed after it was made.

    face_embedding: (512,) float32, the raw output of the recogniser, not normalised; (M, 512)
    where M references are kept apart instead of being combined.
    negative_embedding: same shape; zeros unless noise or another identity was asked for.
    negative: shared between all identities of one adapter that have the same negative embedding.
    family: of the base models that the adapter is for.
    """

    face_embedding: Tensor
    negative_embedding: Tensor
    positive: IdentitySide
    negative: IdentitySide
    family: Family = SDXL

    @property
    def channel_order(self) -> ChannelOrder:
        """In which order the recogniser was given the photos that the face is from."""
        return self.family.channel_order

    @property
    def context_width(self) -> int:
        """Width of the tokens: the cross-attention width of the UNet they were made for."""
        return self.positive.tokens.shape[-1]


@dataclass(frozen=True, eq=False)
class FrameIdentities:
    """Who is shown in which frame of a video: one person after the other.

    each: identities of one adapter with as many tokens each. numbers: which of them every frame
    shows; frames behind the last one show what it shows.
    """

    each: tuple[Identity, ...]
    numbers: tuple[int, ...] = (0,)

    def number(self, frame: int) -> int:
        """Return which identity a frame shows, counted from 0."""
        return self.numbers[min(frame, len(self.numbers) - 1)]


@dataclass(frozen=True)
class NoIdentity:
    """Stands for an identity that was bypassed: apply nodes hand on what they got, unchanged."""

    reason: str


def checked_identity(embeds: object, name: str) -> Identity:
    """Return what a FACE_EMBEDS socket brought, if it is one person's identity.

    name: of the input, for the message. Raises WrongInputError for anything else, a bypassed
    identity too.
    """
    if isinstance(embeds, Identity):
        return embeds
    if isinstance(embeds, NoIdentity):
        raise WrongInputError(f"`{name}` is a face that was bypassed: {embeds.reason}")
    if isinstance(embeds, FrameIdentities):
        raise WrongInputError(
            f"`{name}` is another person in other frames, from Change Identity; wanted one person. "
            "Connect it to the nodes that apply InstantID."
        )
    raise WrongInputError(
        f"`{name}` is {checks.kind_of(embeds)}; wanted one person's identity from Encode Face, "
        "Load Identity or Mix Identities of this pack."
    )


def refuse_other_family(identity: Identity, family: Family, name: str, other: str) -> None:
    """Raise WrongInputError for an identity of another family: their embeddings do not compare.

    name: of the input. other: what is of `family`, in words; both for the message.
    """
    if identity.family != family:
        raise WrongInputError(
            f"`{name}` is a face for {identity.family.name}, {other} is for {family.name}, and the "
            "two look at photos in another way. Encode the photo again, with the adapter of "
            f"{family.name}: {family.files}."
        )


def over_frames(embeds: object, name: str) -> FrameIdentities:
    """Return what a FACE_EMBEDS socket brought by frame; one person's identity is in all of them.

    name: of the input, for the message. Raises WrongInputError as `checked_identity`.
    """
    if isinstance(embeds, FrameIdentities):
        return embeds
    return FrameIdentities((checked_identity(embeds, name),))
