"""The prompts of a run, from a text file with a name and a text in every line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import QualityError

OWN = Path(__file__).with_name("prompts.txt")


@dataclass(frozen=True)
class Prompt:
    """One prompt. name: short, of the file names and tables."""

    name: str
    text: str


def read_prompts(path: Path = OWN, count: int | None = None) -> list[Prompt]:
    """Return the first `count` prompts of a file, all unless told. Raises QualityError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QualityError(f"--prompts: {path} cannot be read as text ({error}).") from error
    prompts: list[Prompt] = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            prompts.append(_prompt(line, f"--prompts: line {number} of {path}"))
    names = [prompt.name for prompt in prompts]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise QualityError(f"--prompts: {path} has {double[0]!r} twice; each name must be its own.")
    if not prompts:
        raise QualityError(f"--prompts: {path} has no prompt. Write lines as `name: text`.")
    return prompts[:count]


def _prompt(line: str, where: str) -> Prompt:
    name, colon, text = (part.strip() for part in line.partition(":"))
    if not (name and colon and text):
        raise QualityError(f"{where} is {line.strip()[:60]!r}; wanted `name: text`.")
    return Prompt(name, text)
