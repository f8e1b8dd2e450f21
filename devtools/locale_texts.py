"""The texts of a node that ComfyUI translates, in the shape of locales/*/nodeDefs.json."""

from __future__ import annotations

from typing import Any

Texts = dict[str, Any]


def node_texts(info: dict[str, Any]) -> Texts:
    """Return title, description, inputs and outputs of a node from its `/object_info` entry."""
    texts: Texts = {"display_name": info["display_name"], "description": info["description"]}
    inputs = {
        name: input_texts(name, spec)
        for kind in ("required", "optional")
        for name, spec in info["input"].get(kind, {}).items()
    }
    tooltips = info["output_tooltips"] or [None] * len(info["output_name"])
    outputs = {
        str(index): with_tooltip(name, tooltip)
        for index, (name, tooltip) in enumerate(zip(info["output_name"], tooltips, strict=True))
    }
    return {**texts, "inputs": inputs, "outputs": outputs}


def input_texts(name: str, spec: Any) -> Texts:
    options = spec[1] if len(spec) > 1 else {}
    return with_tooltip(options.get("display_name") or name, options.get("tooltip"))


def with_tooltip(name: str, tooltip: str | None) -> Texts:
    return {"name": name, "tooltip": tooltip} if tooltip else {"name": name}


def paths(texts: Texts, prefix: str = "") -> dict[str, str]:
    """Flatten nested texts: `{"a": {"b": "text"}}` becomes `{"a/b": "text"}`."""
    flat: dict[str, str] = {}
    for key, value in texts.items():
        path = f"{prefix}/{key}" if prefix else key
        flat.update(paths(value, path) if isinstance(value, dict) else {path: value})
    return flat
