"""Face embedding to Identity: the tokens, and K and V of every slot, computed once."""

from __future__ import annotations

import comfy.model_management
import torch
from torch import Tensor

from ..checks import kind_of, size_of
from ..errors import WrongFileError, WrongInputError
from ..identity import Identity, IdentitySide
from .loading import Adapter


def encode_identity(
    adapter: Adapter, face_embedding: Tensor, negative_embedding: Tensor | None = None
) -> Identity:
    """Encode a face for an adapter; computed in float32, kept on the CPU.

    face_embedding: (512,) raw and not normalised, of a photo whose channels were in the order of
    the adapter's family; (M,512) keeps M references apart, each with its own tokens.
    negative_embedding: of the same shape; zeros (the published method) if None.
    Errors: WrongInputError.
    """
    adapter = own_adapter(adapter)
    face = _checked(face_embedding, adapter.embedding_width, "face embedding")
    with torch.no_grad():
        if negative_embedding is None:
            negative = torch.zeros_like(face)
            negative_side = _shared_negative(adapter, negative)
        else:
            negative = _checked(negative_embedding, adapter.embedding_width, "negative embedding")
            _check_same_shape(face, negative)
            negative_side = _encode_side(adapter, negative)
        positive_side = _encode_side(adapter, face)
        return Identity(face, negative, positive_side, negative_side, adapter.family)


def own_adapter(adapter: object) -> Adapter:
    """Return what a socket brought, if it is an adapter. Raises WrongInputError."""
    if not isinstance(adapter, Adapter):
        raise WrongInputError(
            f"The adapter is {kind_of(adapter)}, none of this pack. Connect this pack's Load "
            "InstantID Adapter."
        )
    return adapter


def _shared_negative(adapter: Adapter, zeros: Tensor) -> IdentitySide:
    """Return the adapter's one negative side of zero embeddings, encoded at its first use."""
    references = zeros.numel() // zeros.shape[-1]
    if references not in adapter.negative_sides:
        adapter.negative_sides[references] = _encode_side(adapter, zeros)
    return adapter.negative_sides[references]


def _encode_side(adapter: Adapter, embedding: Tensor) -> IdentitySide:
    comfy.model_management.load_models_gpu([adapter.patcher])
    references = embedding.reshape(-1, embedding.shape[-1]).to(adapter.patcher.load_device)
    tokens = adapter.module.face_tokens(references)  # (1, M*16, D)
    side = IdentitySide(tokens=tokens.cpu(), kv=adapter.module.project(tokens).cpu())
    if not (bool(side.tokens.isfinite().all()) and bool(side.kv.isfinite().all())):
        raise WrongFileError(
            "The adapter turns this face into values that are not numbers (NaN or infinity): its "
            f"file is damaged, or the face embedding is. Download {adapter.family.files} again."
        )
    return side


def _checked(embedding: object, width: int, name: str) -> Tensor:
    """Return the embedding as a float32 copy on the CPU; WrongInputError if it is none."""
    if not isinstance(embedding, Tensor):
        raise WrongInputError(
            f"The {name} is {kind_of(embedding)}. Wanted: a tensor of {width} numbers, as the face "
            "recogniser gives them."
        )
    if embedding.ndim not in (1, 2) or embedding.shape[-1] != width or embedding.numel() == 0:
        raise WrongInputError(
            f"The {name} has the size {size_of(embedding.shape)}. Wanted: {width} numbers for one "
            f"face, or references x {width} to keep several references of one person apart. Use "
            "the raw output of the antelopev2 recogniser."
        )
    embedding = embedding.detach().to(device="cpu", dtype=torch.float32, copy=True)
    if not bool(embedding.isfinite().all()):
        raise WrongInputError(
            f"The {name} has values that are not numbers (NaN or infinity). "
            "Encode the face again, or use another picture."
        )
    return embedding


def _check_same_shape(face: Tensor, negative: Tensor) -> None:
    if face.shape != negative.shape:
        raise WrongInputError(
            f"The negative embedding has the size {size_of(negative.shape)}, the face embedding "
            f"{size_of(face.shape)}. Both must have the same size."
        )
