"""Look at photos and pictures, and measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import metrics
from .making import Made, Store
from .metrics import Embedding, Score
from .people import Person, Picture, open_picture
from .plan import Case, Plan
from .readers import Reader
from .recognisers import Recogniser


@dataclass
class Photos:
    """Embeddings of everybody's photos: the reference, and the held-out ones."""

    of: dict[str, tuple[Embedding, list[Embedding]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look_at_photos(people: Sequence[Person], recogniser: Recogniser) -> Photos:
    """Return what the recogniser sees in the photos, and what is wrong with them in words."""
    found = Photos()
    for person in people:
        embeddings: list[Embedding] = []
        for path in person.photos:
            faces = recogniser.look(open_picture(path))
            if not faces:
                found.problems.append(
                    f"a face in {path}: {recogniser.name} finds none. Take a sharp photo with an "
                    "upright face that is not cut off."
                )
                continue
            embeddings.append(faces[0].embedding)
        if len(embeddings) < len(person.photos):
            continue
        reference, *others = embeddings
        for path, other in zip(person.held_out, others, strict=True):
            if metrics.angle(reference, other) < metrics.SAME:
                found.problems.append(
                    f"another photo of {person.name}: {path.name} shows the very photo that is "
                    f"the reference ({person.reference.name})."
                )
        if not others:
            found.notes.append(
                f"{person.name} has one photo: likeness to a held-out photo and the copy-paste "
                "score are left out."
            )
        found.of[person.name] = (reference, others)
    return found


class Judge:
    """Measures pictures of a plan. reader: None leaves its two columns out."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        recogniser: Recogniser,
        reader: Reader | None,
        photos: Photos,
    ) -> None:
        self._plan, self._store = plan, store
        self._recogniser, self._reader, self._photos = recogniser, reader, photos

    def scores(self, watch: Callable[[Sequence[Any]], Iterator[Any]]) -> list[Score]:
        """Return the scores of all pictures that are there."""
        there = [(case, self._store.made(case)) for case in self._plan.cases]
        return [
            self.score(case, made) for case, made in watch([p for p in there if p[1] is not None])
        ]

    def score(self, case: Case, made: Made) -> Score:
        """Return the score of one picture; of several faces the largest counts."""
        picture = open_picture(made.path)
        faces = self._recogniser.look(picture)
        measured: dict[str, float | None] = {}
        if faces:
            measured |= self._likeness(case, faces[0].embedding)
            measured["share"] = faces[0].share(picture)
        if self._reader is not None:
            face = faces[0] if faces else None
            measured["text"] = self._reader.text(picture, face, case.prompt.text)
            measured["alike"] = self._alike(case, picture)
        return Score(
            **{"setting": case.setting.name, "person": case.person.name},
            **{"prompt": case.prompt.name, "seed": case.seed},
            **{"faces": len(faces), "seconds": made.seconds},
            **measured,
        )

    def _likeness(self, case: Case, embedding: Embedding) -> dict[str, float | None]:
        reference, others = self._photos.of[case.person.name]
        to_others = metrics.mean(metrics.cosine(embedding, other) for other in others)
        leaning = metrics.mean(metrics.copy_paste(embedding, reference, o) for o in others)
        return {
            "to_reference": metrics.cosine(embedding, reference),
            "to_held_out": to_others and to_others.value,
            "copy_paste": leaning and leaning.value,
        }

    def _alike(self, case: Case, picture: Picture) -> float | None:
        partner = self._plan.partner(case)
        made = partner and self._store.made(partner)
        if made is None or self._reader is None:
            return None
        return self._reader.alike(picture, open_picture(made.path))
