"""Pictures to an identity or to keypoints, with ComfyUI's progress bar and its stop button."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import comfy.model_management
import comfy.utils
import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..embeddings import MEAN, combine_embeddings, negative_noise
from ..errors import WrongInputError
from ..faces import FaceAnalyzer, Pick
from ..faces.frames import fill_frames
from ..faces.references import (
    AS_USUAL,
    Choice,
    LookSettings,
    Reference,
    choose_face,
    keep_found,
    parse_weights,
    report,
)
from ..identity import Identity, NoIdentity, checked_identity
from ..identity_file import load_embeddings
from ..images import Picture, to_images, to_pictures
from ..keypoints import Keypoints
from ..log import log
from ..previews import draw_preview, largest_preview, same_size
from .encode import encode_identity
from .loading import Adapter

Item = TypeVar("Item")

ALL_FACES = "all"  # of FaceKeypoints: every face, from left to right


@dataclass(frozen=True, eq=False)
class EncodedFace:
    """What Encode Face gives out. preview: (B, H, W, 3) IMAGE, one picture per reference."""

    identity: Identity | NoIdentity
    preview: Tensor
    report: str


def watched(items: Sequence[Item]) -> Iterator[Item]:
    """Yield the items, moving the progress bar; stops where the user pressed stop."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)


def make_pick(mode: str, index: int, like: object = None) -> Pick:
    """Return the pick of a node's widgets; `like` is what a FACE_EMBEDS socket brought, or None.

    Raises WrongInputError where `like` is not an identity.
    """
    return Pick(mode, index, None if like is None else _one_embedding(like, "like"))


def _one_embedding(embeds: object, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    face = checked_identity(embeds, name).face_embedding
    return face.reshape(-1, face.shape[-1]).mean(dim=0).numpy()


def references_of(
    images: Tensor, weights: str | float, pick: Pick, before: Sequence[Reference] = ()
) -> tuple[Reference, ...]:
    """Return the pictures of an IMAGE batch as references, after those `before`.

    weights: numbers with commas between them, one for each picture; empty for 1 each; or one
    number for all of them.
    """
    pictures = to_pictures(images)
    if isinstance(weights, str):
        shares = parse_weights(weights, len(pictures))
    else:
        shares = [checks.number(weights, "weight")] * len(pictures)
    made = [Reference(p, "", w, pick) for p, w in zip(pictures, shares, strict=True)]
    return (*checked_references(before), *made)


def checked_references(found: object) -> tuple[Reference, ...]:
    """Return what a socket of references brought. Raises WrongInputError for anything else."""
    if isinstance(found, (list, tuple)) and all(isinstance(one, Reference) for one in found):
        return tuple(found)
    raise WrongInputError(
        f"`references` is {checks.kind_of(found)}. Connect the output of Face Reference."
    )


def _named(references: Sequence[Reference]) -> list[Reference]:
    total = len(references)
    if total == 1:
        return [replace(references[0], name="the picture")]
    return [
        replace(reference, name=f"picture {number} of {total}")
        for number, reference in enumerate(references, start=1)
    ]


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
) -> EncodedFace:
    """Find the person in each reference, combine, and encode for an adapter.

    combine: one of embeddings.COMBINES. on_missing: one of references.ON_MISSING. noise: 0..1 of
    uniform noise as the negative embedding; 0 is the published method.

    Raises NoFaceError, WrongInputError.
    """
    references = _named(checked_references(references))
    noise = checks.number(noise, "negative_noise")
    choices = [choose_face(analyzer, one, settings) for one in watched(references)]
    kept = keep_found(choices, on_missing)
    embeddings = {n: analyzer.embed(references[n].picture, choices[n].face) for n in watched(kept)}
    preview = _preview([reference.picture for reference in references], choices)
    text = report(references, choices, embeddings)
    if not kept:
        reason = f"Encode Face found nobody. {choices[0].problem}"
        log.warning("The graph runs without this identity. %s", reason)
        return EncodedFace(NoIdentity(reason), preview, text)
    stacked = torch.from_numpy(np.stack([embeddings[n] for n in kept]))  # (M, 512)
    face = combine_embeddings(stacked, [references[n].weight for n in kept], combine)
    negative = negative_noise(face, noise, noise_seed) if noise else None
    return EncodedFace(encode_identity(adapter, face, negative), preview, text)


def _preview(pictures: Sequence[Picture], choices: Sequence[Choice]) -> Tensor:
    numbers = [() if choice.chosen is None else (choice.chosen,) for choice in choices]
    return _drawn(pictures, choices, numbers)


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


def find_keypoints(
    analyzer: FaceAnalyzer,
    images: Tensor,
    pick: Pick,
    *,
    on_missing: str = "error",
    settings: LookSettings = AS_USUAL,
) -> tuple[Keypoints, Tensor]:
    """Return the keypoints of every frame of an IMAGE batch, and the preview.

    pick: which face of each frame; with mode ALL_FACES every face, from left to right.
    on_missing: one of frames.ON_MISSING_FRAME.

    Raises NoFaceError, WrongInputError.
    """
    every = pick.mode == ALL_FACES
    wanted = Pick("left_to_right") if every else pick
    pictures = to_pictures(images)
    references = _named([Reference(picture, "", 1.0, wanted) for picture in pictures])
    choices = [choose_face(analyzer, one, settings) for one in watched(references)]
    chosen = [_numbers(choice, every) for choice in choices]
    found = [
        tuple(choice.faces[n].points for n in numbers)
        for choice, numbers in zip(choices, chosen, strict=True)
    ]
    frames = fill_frames(found, [choice.problem for choice in choices], on_missing)
    height, width = pictures[0].shape[:2]
    return Keypoints(width, height, frames), _drawn(pictures, choices, chosen)


def _numbers(choice: Choice, every: bool) -> tuple[int, ...]:
    if choice.chosen is None:
        return ()
    return tuple(range(len(choice.faces))) if every else (choice.chosen,)


def mix_identities(
    adapter: Adapter, first: object, second: object, amount: float, combine: str = MEAN
) -> Identity | NoIdentity:
    """Return the identity between two, encoded for an adapter.

    first, second: what FACE_EMBEDS sockets brought. amount: 0 is the first, 1 the second. A
    bypassed one gives a bypassed mix. References kept apart are combined first.

    Raises WrongInputError.
    """
    for one in (first, second):
        if isinstance(one, NoIdentity):
            log.warning("Mix Identities hands on a bypassed identity. %s", one.reason)
            return one
    a, b = checked_identity(first, "first"), checked_identity(second, "second")
    amount = checks.number(amount, "amount")
    shares = (1.0 - amount, amount)
    face = combine_embeddings(_rows(a.face_embedding, b.face_embedding), shares, combine)
    negative = combine_embeddings(_rows(a.negative_embedding, b.negative_embedding), shares)
    return encode_identity(adapter, face, negative if negative.any() else None)


def _rows(a: Tensor, b: Tensor) -> Tensor:
    """Return (2, 512): one row for each, the mean of those that hold several."""
    return torch.stack([t.reshape(-1, t.shape[-1]).mean(dim=0) for t in (a, b)])


def load_identity(adapter: Adapter, path: Path) -> Identity:
    """Return a saved identity, encoded again for an adapter. Raises as load_embeddings does."""
    face, negative = load_embeddings(path)
    return encode_identity(adapter, face, negative if bool(negative.any()) else None)
