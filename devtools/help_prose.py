"""Where the help pages lie, and what of them is written by hand."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "web" / "docs"
LANGUAGES = ("en", "fr", "ja", "zh")
LISTS = re.compile(r"<!-- lists -->.*?<!-- /lists -->", re.DOTALL)


def page_path(node: str, language: str, docs: Path = DOCS) -> Path:
    """Return where ComfyUI looks for a node's help; the English page is for all other languages."""
    return docs / f"{node}.md" if language == "en" else docs / node / f"{language}.md"


def prose(node: str, language: str, docs: Path = DOCS) -> str:
    """Return what is written by hand on a page, "" where there is no page."""
    path = page_path(node, language, docs)
    return LISTS.sub("", path.read_text(encoding="utf-8")).strip() if path.is_file() else ""


def nodes(docs: Path = DOCS) -> list[str]:
    """Return the nodes that have an English page."""
    return sorted(path.stem for path in docs.glob("*.md"))
