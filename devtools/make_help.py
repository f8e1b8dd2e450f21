"""Bring the help pages in web/docs up to date with the nodes; refresh.py calls this.

Takes a picture of every node in the real frontend (web/docs/images), and rewrites the tables of
inputs and outputs in web/docs/<id>.md, which stand between two marks. The rest of a page is
written by hand; a node without a page is reported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frontend import Frontend, get, photograph
from pictures import keep_or_save
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "web" / "docs"
BEGIN, END = "<!-- tables -->", "<!-- /tables -->"


def own_nodes(url: str) -> dict[str, Any]:
    """Return the `/object_info` entries of this pack's nodes."""
    nodes = get(f"{url}/object_info")
    module = nodes["IID_Apply"]["python_module"]
    return {name: info for name, info in nodes.items() if info["python_module"] == module}


def cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def values(kind: Any, options: dict[str, Any]) -> str:
    """Describe the values an input takes: its range and default, its choices, or its type."""
    if isinstance(kind, list) or kind == "COMBO":
        choices = kind if isinstance(kind, list) else options.get("options", [])
        known = [str(choice) for choice in choices if not str(choice).count(".")]
        return ", ".join(known) if known else "a file"
    if kind in ("INT", "FLOAT"):
        return f"{options['min']} to {options['max']}, default {options['default']}"
    if kind == "BOOLEAN":
        return f"default {'on' if options.get('default') else 'off'}"
    return kind


def tables(info: dict[str, Any]) -> str:
    lines = ["| Input | Values | What it does |", "|---|---|---|"]
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            options = spec[1] if len(spec) > 1 else {}
            takes = values(spec[0], options) + (" (optional)" if group == "optional" else "")
            lines.append(f"| `{name}` | {cell(takes)} | {cell(options.get('tooltip', ''))} |")
    tooltips = info["output_tooltips"] or [None] * len(info["output"])
    told = [
        entry
        for entry in zip(info["output_name"], info["output"], tooltips, strict=True)
        if entry[2]
    ]
    if told:
        lines += ["", "| Output | Type | What it is |", "|---|---|---|"]
        lines += [f"| `{name}` | {kind} | {cell(tooltip)} |" for name, kind, tooltip in told]
    return "\n".join(lines)


def write_tables(page: Path, info: dict[str, Any]) -> bool:
    """Rewrite the tables between the marks of a page; False when it has no marks."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if BEGIN not in text:
        return False
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    text = f"{before}{BEGIN}\n{tables(info)}\n{END}{after}"
    page.write_text(text, encoding="utf-8", newline="\n")
    return True


def take_picture(frontend: Frontend, name: str, path: Path) -> None:
    frontend.call("select", name)
    frontend.page.evaluate("() => window.app.canvas.deselectAll()")
    image = photograph(frontend)
    image.thumbnail((520, 900), Image.Resampling.LANCZOS)
    keep_or_save(image, path, optimize=True)


def update(frontend: Frontend, nodes: dict[str, Any]) -> list[str]:
    """Bring pictures and tables of these nodes up to date; return those without a page.

    nodes: their `/object_info` entries.
    """
    missing: list[str] = []
    for name, info in nodes.items():
        take_picture(frontend, name, DOCS / "images" / f"{name}.png")
        if not write_tables(DOCS / f"{name}.md", info):
            missing.append(name)
    return missing
