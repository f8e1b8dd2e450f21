"""The numbers: likeness, copy-paste score, and what a setting comes to. NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
SAME = 1e-3  # radians; photos nearer than this are one photo


def cosine(a: Embedding, b: Embedding) -> float:
    """Cosine of two embeddings of any length, -1 to 1."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    if size == 0:
        raise ValueError("an embedding of zeros has no direction")
    return min(1.0, max(-1.0, float(first @ second) / size))


def angle(a: Embedding, b: Embedding) -> float:
    """Angle between two embeddings in radians, 0 to pi."""
    return math.acos(cosine(a, b))


def copy_paste(made: Embedding, reference: Embedding, held_out: Embedding) -> float:
    """How far a picture leans to the photo it was made from: 1 its copy, -1 the other photo.

    (angle(made, held_out) - angle(made, reference)) / angle(held_out, reference), as MultiID-Bench
    defines it; 0 is as like the one as the other. Raises ValueError where both photos are one.
    """
    between = angle(held_out, reference)
    if between < SAME:
        raise ValueError("reference and held-out photo are the same photo")
    return (angle(made, held_out) - angle(made, reference)) / between


@dataclass(frozen=True)
class Score:
    """What was measured on one picture; None where there is nothing to measure.

    to_reference, to_held_out: cosines by the recogniser. copy_paste: see above. text: how well the
    picture fits its prompt. alike: how like it is to the picture of the same seed without
    InstantID. share: of the largest face's box in the picture, 0 to 1. faces: how many were found.
    """

    setting: str
    person: str
    prompt: str
    seed: int
    faces: int
    seconds: float
    to_reference: float | None = None
    to_held_out: float | None = None
    copy_paste: float | None = None
    text: float | None = None
    alike: float | None = None
    share: float | None = None


MEASURED = ("to_reference", "to_held_out", "copy_paste", "text", "alike", "share")


@dataclass(frozen=True)
class Mean:
    """Mean of `count` values and its standard error, None of fewer than two."""

    value: float
    error: float | None
    count: int


@dataclass(frozen=True)
class Summary:
    """What a setting comes to. means: by the names of MEASURED. seconds: the median."""

    setting: str
    pictures: int
    no_face: float
    seconds: float
    means: Mapping[str, Mean]


@dataclass(frozen=True)
class Lines:
    """What the photos themselves come to, as cosines; None where no two photos can be compared.

    same: of two photos of one person, which no picture can be expected to pass. strangers: of the
    references of different people.
    """

    same: float | None
    strangers: float | None


def mean(values: Iterable[float | None]) -> Mean | None:
    """Return the mean of the values that are there; None of none."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    error = float(np.std(there, ddof=1) / math.sqrt(len(there))) if len(there) > 1 else None
    return Mean(float(np.mean(there)), error, len(there))


def summarise(setting: str, scores: Sequence[Score]) -> Summary:
    """Return what the scores of one setting come to; at least one."""
    means = {name: mean(getattr(score, name) for score in scores) for name in MEASURED}
    return Summary(
        setting=setting,
        pictures=len(scores),
        no_face=sum(score.faces == 0 for score in scores) / len(scores),
        seconds=float(np.median([score.seconds for score in scores])),
        means={name: value for name, value in means.items() if value is not None},
    )


def lines_of(photos: Mapping[str, tuple[Embedding, Sequence[Embedding]]]) -> Lines:
    """Return what photos come to. photos: by person, the reference and the held-out ones."""
    own = [mean(cosine(ref, other) for other in others) for ref, others in photos.values()]
    references = [reference for reference, _ in photos.values()]
    apart = [cosine(a, b) for n, a in enumerate(references) for b in references[:n]]
    same, strangers = mean(one.value for one in own if one is not None), mean(apart)
    return Lines(same and same.value, strangers and strangers.value)
