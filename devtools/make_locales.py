"""Bring locales/*/nodeDefs.json up to date with the nodes; refresh.py calls this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
FILE = "nodeDefs.json"

Texts = dict[str, Any]


def node_texts(info: dict[str, Any]) -> Texts:
    """Return title, description, inputs and outputs of a node from its `/object_info` entry."""
    texts: Texts = {"display_name": info["display_name"], "description": info["description"]}
    inputs: Texts = {}
    given = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    for name, (_, *more) in given.items():
        options = more[0] if more else {}
        inputs[name] = with_tooltip(options.get("display_name") or name, options.get("tooltip"))
    names = info["output_name"]
    tooltips = info["output_tooltips"] or [None] * len(names)
    shown = [with_tooltip(*pair) for pair in zip(names, tooltips, strict=True)]
    outputs = {str(index): text for index, text in enumerate(shown)}
    return {**texts, "inputs": inputs, "outputs": outputs}


def with_tooltip(name: str, tooltip: str | None) -> Texts:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def paths(texts: Texts, prefix: str = "") -> dict[str, str]:
    """Flatten nested texts: `{"a": {"b": "text"}}` becomes `{"a/b": "text"}`."""
    flat: dict[str, str] = {}
    for key, value in texts.items():
        path = f"{prefix}/{key}" if prefix else key
        flat.update(paths(value, path) if isinstance(value, dict) else {path: value})
    return flat


def keep_wanted(found: Texts, wanted: Texts) -> Texts:
    """Return the part of `found` whose keys are in `wanted`, in the order of `wanted`."""
    return {
        key: keep_wanted(found[key], value) if isinstance(value, dict) else found[key]
        for key, value in wanted.items()
        if key in found
    }


def read(path: Path) -> Texts:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(path: Path, content: Any, indent: int = 1) -> None:
    """Write JSON the same on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def update(nodes: dict[str, Any]) -> None:
    """Write the English texts, and take out of the other languages what no node has any more.

    nodes: the `/object_info` entries of this pack's nodes.
    """
    english = {name: node_texts(info) for name, info in sorted(nodes.items())}
    write(LOCALES / "en" / FILE, english, 2)
    for folder in sorted(LOCALES.iterdir()):
        if folder.name != "en":
            write(folder / FILE, keep_wanted(read(folder / FILE), english), 2)
