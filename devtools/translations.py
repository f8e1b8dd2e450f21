"""Which translations are due: texts whose English has changed since they were translated.

Beside every translation, devtools/translated/<language>.json holds two short hashes: of the
English text it was made from, and of itself. Where the English has another hash now, and the
translation is still the same, it is due. A translation that has changed as well counts as done
anew, and so does one that is declared to be still right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import help_prose
from help_prose import nodes as nodes_in
from make_locales import paths, write

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("fr", "ja", "zh")
FILES = ("main.json", "nodeDefs.json")

Texts = dict[str, str]
Record = dict[str, str]  # path of a text: "hash of the English, hash of the translation"


@dataclass(frozen=True)
class Due:
    """A translation to be made or looked at. path: its file and place. why: missing or changed."""

    language: str
    path: str
    why: str
    english: str

    @property
    def page(self) -> str:
        """The path of a help page as the folder of pages has it: help/<node>/<language>."""
        return f"{self.path}/{self.language}"

    def __str__(self) -> str:
        first = self.english.splitlines()[0]
        return f"{self.language}:{self.path} {self.why}: {first}"


def texts(root: Path, language: str) -> Texts:
    """Return every text of a language, by the path of its file and its place in it."""
    found: Texts = {}
    for name in FILES:
        path = root / "locales" / language / name
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            found.update(paths(content, name.removesuffix(".json")))
    docs = root / "web" / "docs"
    written = {f"help/{node}": help_prose.prose(node, language, docs) for node in nodes_in(docs)}
    return found | {path: text for path, text in written.items() if text}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def record_path(root: Path, language: str) -> Path:
    return root / "devtools" / "translated" / f"{language}.json"


def read_record(root: Path, language: str) -> Record:
    path = record_path(root, language)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def due(root: Path = ROOT) -> list[Due]:
    """Return what is due in every language, missing texts first."""
    english = texts(root, "en")
    found: list[Due] = []
    for language in LANGUAGES:
        own, record = texts(root, language), read_record(root, language)
        for path, text in english.items():
            if path not in own:
                found.append(Due(language, path, "is missing", text))
            elif record.get(path, "")[:8] != digest(text):
                found.append(Due(language, path, "has changed in English", text))
    return sorted(found, key=lambda one: (one.language, one.why != "is missing"))


def record(root: Path = ROOT, still_right: frozenset[str] = frozenset()) -> None:
    """Write down what was translated since the last time, and forget texts that are gone.

    still_right: translations, as `language:path`, that fit the changed English unchanged.
    """
    english = texts(root, "en")
    for language in LANGUAGES:
        own, before = texts(root, language), read_record(root, language)
        after: Record = {}
        for path in sorted(english.keys() & own.keys()):
            fresh = f"{digest(english[path])} {digest(own[path])}"
            known = before.get(path)
            done = known is None or known[9:] != fresh[9:] or f"{language}:{path}" in still_right
            after[path] = fresh if done else known
        write(record_path(root, language), after, 0)


def unknown(names: frozenset[str], root: Path = ROOT) -> list[str]:
    """Return those of `names` that are no `language:path` of a text there is."""
    there = {f"{language}:{path}" for language in LANGUAGES for path in texts(root, language)}
    return sorted(names - there)
