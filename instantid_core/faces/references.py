"""Reference pictures of one person: choose the face of each, tell what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import Tensor

from .. import checks
from ..errors import NoFaceError, WrongInputError
from ..images import Picture, to_pictures
from ..log import note, warn
from .analyzer import THRESHOLD, Embedding, FaceAnalyzer
from .pick import LARGEST_FACE, Pick, rank_faces
from .records import FoundFace, Search

ERROR, SKIP, BYPASS = "error", "skip", "bypass"
ON_MISSING = (ERROR, SKIP, BYPASS)

# Two photos of one person are rarely less alike than this, two people rarely more.
OUTLIER_LIKENESS = 0.3
RECOGNISER_WIDTH = 112  # pixels a face is brought to; a smaller one is enlarged, and blurred


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture of the person and what to take of it.

    picture: (H, W, 3) BGR bytes. weight: 0 or more. name: how messages call it.
    """

    picture: Picture
    name: str
    weight: float = 1.0
    pick: Pick = LARGEST_FACE


def references_of(
    images: Tensor, weights: str | float, pick: Pick, before: Sequence[Reference] = ()
) -> tuple[Reference, ...]:
    """Return the pictures of an IMAGE batch as references, after those `before`.

    weights: numbers with commas between them, one for each picture; empty for 1 each; or one
    number for all of them.
    """
    pictures = to_pictures(images)
    if isinstance(weights, str):
        each = parse_weights(weights, len(pictures))
    else:
        each = [checks.number(weights, "weight")] * len(pictures)
    made = [Reference(p, "", w, pick) for p, w in zip(pictures, each, strict=True)]
    return (*checked_references(before), *made)


def checked_references(found: object) -> tuple[Reference, ...]:
    """Return what a socket of references brought. Raises WrongInputError for anything else."""
    kind = checks.kind_of(found)
    if isinstance(found, (list, tuple)):
        entries = cast("Sequence[object]", found)
        references = tuple(one for one in entries if isinstance(one, Reference))
        if len(references) == len(entries):
            return references
    raise WrongInputError(f"`references` is {kind}. Connect the output of Face Reference.")


def named(references: Sequence[Reference]) -> list[Reference]:
    """Return the references as messages call them: by number, where there are several."""
    total = len(references)
    if total == 1:
        return [replace(references[0], name="the picture")]
    return [
        replace(reference, name=f"picture {number} of {total}")
        for number, reference in enumerate(references, start=1)
    ]


@dataclass(frozen=True)
class LookSettings:
    """How to look.

    threshold: least score of a face, 0..1. thorough: whether to go through every size. landmarks:
    whether the 106 landmarks of a face are looked for where its keypoints are wanted.
    """

    threshold: float = THRESHOLD
    thorough: bool = False
    landmarks: bool = False


AS_USUAL = LookSettings()


@dataclass(frozen=True, eq=False)
class Choice:
    """What was found in a picture: faces as numbered; the chosen one's number and face.

    chosen is None where there is no such face, and `problem` says why.
    """

    faces: tuple[FoundFace, ...]
    chosen: int | None
    problem: str = ""

    @property
    def face(self) -> FoundFace:
        if self.chosen is None:
            raise NoFaceError(self.problem)
        return self.faces[self.chosen]


def choose_face(
    analyzer: FaceAnalyzer, reference: Reference, settings: LookSettings = AS_USUAL
) -> Choice:
    """Look for faces in a reference and choose the one its pick names."""
    picture, pick = reference.picture, reference.pick
    checks.number(settings.threshold, "threshold")
    search = analyzer.find(picture, threshold=settings.threshold, thorough=settings.thorough)
    faces = rank_faces(analyzer, picture, search.faces, pick)
    if not faces:
        return Choice((), None, _no_face_text(reference, search, settings.threshold))
    if not 0 <= pick.index < len(faces):
        return Choice(faces, None, _no_such_face_text(reference, len(faces)))
    return Choice(faces, pick.index)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _size_words(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"


def _no_face_text(reference: Reference, search: Search, threshold: float) -> str:
    best = f"the best score was {search.best_score:.2f}" if search.best_score else "nothing scored"
    return (
        f"No face was found in {reference.name} ({_size_words(reference.picture)}). Looked at the "
        f"sizes {', '.join(search.tried)}; {best}, wanted at least {threshold:.2f}. Use a picture "
        "that shows the face larger, upright and uncovered, lower `threshold`, or choose another "
        "`on_missing`."
    )


def _no_such_face_text(reference: Reference, found: int) -> str:
    faces = "1 face" if found == 1 else f"{found} faces"
    return (
        f"{_capital(reference.name)} ({_size_words(reference.picture)}) has "
        f"{faces}, numbered from 0; `index` asks for number {reference.pick.index}. The preview "
        "shows the numbers."
    )


def keep_found(choices: Sequence[Choice], on_missing: str) -> list[int]:
    """Return which pictures have the face that was asked for; with bypass there may be none.

    on_missing: "error" raises NoFaceError at the first picture without, "skip" when none is left;
    both "skip" and "bypass" warn of what is left out; of nobody at all the caller does.
    """
    if on_missing not in ON_MISSING:
        raise WrongInputError(
            f"on_missing is {checks.shown(on_missing)}; wanted one of: {', '.join(ON_MISSING)}."
        )
    problems = [choice.problem for choice in choices if choice.chosen is None]
    if problems and on_missing == ERROR:
        raise NoFaceError(problems[0])
    nobody = len(problems) == len(choices)
    for problem in problems if not (nobody and on_missing == BYPASS) else ():
        warn(problem)
    if on_missing == SKIP and nobody:
        raise NoFaceError(f"No picture of {len(choices)} is left. The first one: {problems[0]}")
    return [number for number, choice in enumerate(choices) if choice.chosen is not None]


def report(
    references: Sequence[Reference],
    choices: Sequence[Choice],
    embeddings: dict[int, Embedding],
) -> str:
    """Return one line per reference and the warnings, as text for the user; log the warnings.

    embeddings: of the references that were kept, by number.
    """
    alike = mean_likenesses(embeddings)
    lines = [
        _line(reference, choices[number], alike.get(number))
        for number, reference in enumerate(references)
    ]
    warnings = _warnings(references, choices, alike)
    for line in lines:
        note(line)
    for warning in warnings:
        warn(warning)
    return "\n".join([*lines, *(f"Warning: {warning}" for warning in warnings)])


def mean_likenesses(embeddings: Mapping[int, Embedding]) -> dict[int, float | None]:
    """Return the mean likeness of each reference to the others, None where there is no other.

    The cosines of one reference with all others add up to its cosine with their sum, so the cost
    grows with the number of references, not with its square.
    """
    if len(embeddings) < 2:
        return dict.fromkeys(embeddings)
    stacked = np.stack(list(embeddings.values())).astype(np.float64)  # (M,512)
    lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
    units = np.divide(stacked, lengths, out=np.zeros_like(stacked), where=lengths > 0)
    with_itself = (units * units).sum(axis=1)
    alike = (units @ units.sum(axis=0) - with_itself) / (len(units) - 1)
    return dict(zip(embeddings, alike.tolist(), strict=True))


def _line(reference: Reference, choice: Choice, alike: float | None) -> str:
    if choice.chosen is None:
        return f"{reference.name}: left out. {choice.problem}"
    face = choice.face
    parts = [
        f"{reference.name}: {_size_words(reference.picture)}, face {choice.chosen} of "
        f"{len(choice.faces)}",
        f"{face.width:.0f}x{face.height:.0f} pixels",
        f"score {face.score:.2f}",
        f"weight {reference.weight:g}",
    ]
    if alike is not None:
        parts.append(f"mean likeness {alike:.2f}")
    return ", ".join(parts)


def _warnings(
    references: Sequence[Reference],
    choices: Sequence[Choice],
    alike: dict[int, float | None],
) -> list[str]:
    texts: list[str] = []
    for number, value in alike.items():
        name, face = references[number].name, choices[number].face
        if value is not None and value < OUTLIER_LIKENESS:
            texts.append(
                f"{_capital(name)} is unlike the others ({value:.2f}; photos of one person are "
                f"rarely below {OUTLIER_LIKENESS}). Does it show the same person? The preview "
                "shows which face was taken."
            )
        if face.width < RECOGNISER_WIDTH:
            texts.append(
                f"The face in {name} is only {face.width:.0f} pixels wide; below "
                f"{RECOGNISER_WIDTH} the likeness suffers. Use a larger picture of it."
            )
    return texts


def parse_weights(text: str, count: int) -> list[float]:
    """Return one weight for each of `count` pictures from numbers with commas between them.

    text: empty means 1 for each. Raises WrongInputError for another number of weights or for
    something that is no number of 0 or more.
    """
    if not text.strip():
        return [1.0] * count
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != count or not all(0 <= weight <= checks.LARGEST for weight in weights):
        raise WrongInputError(
            f"weights is {checks.shown(text)}; wanted {count} "
            f"{'number' if count == 1 else 'numbers'} of 0 or "
            "more, one for each picture, with commas between them, for example "
            f"{', '.join((['1', '0.5'] * count)[: min(count, 8)])}."
        )
    return weights
