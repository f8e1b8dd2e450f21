"""The words that people type into ComfyUI's node search, in four languages: search_words.json.

ComfyUI compares what is typed with a node's name, its title and these words, whatever the language
of the interface. Titles count for more, so a word here never pushes a node away that is called so.
"""

from __future__ import annotations

import json
from pathlib import Path

_WORDS: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)


def of(node_id: str) -> list[str]:
    """Return a node's words of all languages. KeyError for a node that has none."""
    if node_id not in _WORDS:
        raise KeyError(f"{node_id} has no words in nodes/search_words.json")
    return [word for words in _WORDS[node_id].values() for word in words]
