"""What a run is made of: a case for each setting, person, prompt and seed."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .graphs import Nodes, fill
from .people import Person
from .prompts import Prompt
from .settings import Setting

SEED_LIMIT = 2**32


@dataclass(frozen=True)
class Case:
    """One picture to make. number: of the seed, from 0."""

    setting: Setting
    person: Person
    prompt: Prompt
    number: int

    @property
    def seed(self) -> int:
        """The same for all settings, and for this person and prompt in every run."""
        told = f"{self.person.name}\n{self.prompt.name}\n{self.number}"
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big") % SEED_LIMIT

    @property
    def place(self) -> Path:
        """Where the picture lies, from the folder of the pictures."""
        parts = (self.person.name, self.prompt.name, f"{self.number + 1}")
        return Path(safe(self.setting.name)) / f"{'-'.join(map(safe, parts))}.png"

    def nodes(self) -> Nodes:
        """Return what is queued; the photo goes by its content, so that another one is seen."""
        photo = uploaded_name(self.person.reference)
        return fill(self.setting.nodes, self.setting.places, photo, self.prompt.text, self.seed)

    def key(self) -> str:
        """Return what the picture depends on, as one number in hex."""
        return hashlib.sha256(json.dumps(self.nodes(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """All that is wished for. cases: a setting after the other, in each a person after the other,
    so that the server keeps what it has loaded."""

    people: Sequence[Person]
    prompts: Sequence[Prompt]
    settings: Sequence[Setting]
    seeds: int

    @property
    def cases(self) -> list[Case]:
        return [
            Case(setting, person, prompt, number)
            for setting in self.settings
            for person in self.people
            for prompt in self.prompts
            for number in range(self.seeds)
        ]

    @property
    def without(self) -> Setting | None:
        """The first setting into which no photo goes: what the others are compared with."""
        return next((setting for setting in self.settings if not setting.has_person), None)

    def partner(self, case: Case) -> Case | None:
        """Return the same person's prompt and seed without the person in it."""
        if self.without is None or not case.setting.has_person:
            return None
        return Case(self.without, case.person, case.prompt, case.number)


def safe(name: str) -> str:
    """Return a name that every file system takes: letters, numbers and underscores.

    Where something had to go, a few letters of a hash keep the names apart.
    """
    plain = re.sub(r"[^\w]+", "_", name).strip("_")
    if plain == name.replace(" ", "_"):
        return plain
    return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


@functools.cache
def uploaded_name(photo: Path) -> str:
    """Return the name under which the server gets a photo, told by its content."""
    return f"quality/{hashlib.sha256(photo.read_bytes()).hexdigest()[:16]}{photo.suffix.lower()}"
