"""Face embeddings: combine references; the negative side's noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import checks
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
    generator = torch.Generator().manual_seed(seed % SEEDS)
    noise = torch.rand(face_embedding.shape, generator=generator, dtype=torch.float32)
    return noise * amount


SEEDS = 1 << 64  # how many a generator tells apart

MEAN = "mean"
NORM_KEPT_MEAN = "norm_kept_mean"
COMBINES = (MEAN, NORM_KEPT_MEAN)


def combine_embeddings(embeddings: Tensor, weights: Sequence[float], mode: str = MEAN) -> Tensor:
    """Return one face embedding for several references of a person.

    embeddings: (M, 512) float32, raw. weights: M numbers, 0 or more; only their ratios matter.
    mode: "mean", the weighted mean of the raw embeddings, as the authors advise; it is shorter
    than its parts where they differ, down to sqrt((1 + (M - 1) c) / M) of their length at
    pairwise cosine c. "norm_kept_mean" gives that mean the weighted mean of the parts' lengths.

    Raises WrongInputError for an unknown mode, another number of weights, a negative one, or
    weights that are all 0.
    """
    if mode not in COMBINES:
        raise checks.unknown("combine", mode, COMBINES)
    if len(weights) != len(embeddings):
        raise WrongInputError(
            f"Weights are wanted for {len(embeddings)} references, found {len(weights)}. Give one "
            "weight for each."
        )
    if min(weights) < 0 or sum(weights) <= 0:
        raise WrongInputError(
            f"The weights of the references are {', '.join(f'{w:g}' for w in weights)}; wanted "
            "numbers of 0 or more, at least one of them above 0."
        )
    ratios = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    mean = (ratios[:, None] * embeddings.float()).sum(dim=0)  # (M, 512) -> (512,)
    if mode == MEAN:
        return mean
    length = (ratios * embeddings.float().square().sum(dim=1).sqrt()).sum()
    return mean * (length / mean.square().sum().sqrt().clamp(min=1e-12))


def mean_of_references(embedding: Tensor) -> Tensor:
    """(512,) or (M,512), references kept apart -> (512,), their mean."""
    return embedding.reshape(-1, embedding.shape[-1]).mean(dim=0)
