"""Where the example workflows lie: their files are called by titles, their API forms by names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "example_workflows"
LINK_NAME = "faithful_instantid_template"  # in a workflow's `extra`


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """Return the name of an example, as `instantid_basic`, from its file."""
    return read(path)["extra"][LINK_NAME]


def workflows() -> list[Path]:
    """Return the files of all examples, in their order."""
    return sorted(FOLDER.glob("*.json"))


def workflow(name: str) -> Path:
    """Return the file of the example of a name."""
    (found,) = (path for path in workflows() if name_of(path) == name)
    return found


def api_form(name: str) -> Path:
    return FOLDER / "api" / f"{name}.json"
