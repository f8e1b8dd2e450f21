"""Bring locales/*/nodeDefs.json up to date with the nodes; refresh.py calls this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from locale_texts import Texts, node_texts

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
FILE = "nodeDefs.json"


def keep_wanted(found: Texts, wanted: Texts) -> Texts:
    """Return the part of `found` whose keys are in `wanted`, in the order of `wanted`."""
    return {
        key: keep_wanted(found[key], value) if isinstance(value, dict) else found[key]
        for key, value in wanted.items()
        if key in found
    }


def read(path: Path) -> Texts:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(path: Path, texts: Texts) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(texts, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def update(nodes: dict[str, Any]) -> None:
    """Write the English texts, and take out of the other languages what no node has any more.

    nodes: the `/object_info` entries of this pack's nodes.
    """
    english = {name: node_texts(info) for name, info in sorted(nodes.items())}
    write(LOCALES / "en" / FILE, english)
    for folder in sorted(LOCALES.iterdir()):
        if folder.name != "en":
            write(folder / FILE, keep_wanted(read(folder / FILE), english))
