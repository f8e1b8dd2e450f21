"""Face embeddings: the negative side's noise."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import WrongInputError


def negative_noise(face_embedding: Tensor, amount: float, seed: int) -> Tensor:
    """Return a negative embedding of the shape of `face_embedding`: amount * uniform [0, 1).

    amount: 0 or more; 0 gives the zeros of the published method. seed: of a generator of its own,
    so that no other random number changes.
    """
    if amount < 0:
        raise WrongInputError(
            f"The negative noise is {amount}. Wanted: 0 (none, the published method) or more."
        )
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(face_embedding.shape, generator=generator, dtype=torch.float32)
    return noise * amount
