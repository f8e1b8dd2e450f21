"""Bring the help pages in web/docs up to date with the nodes; refresh.py calls this.

A page lies at web/docs/<id>.md in English and at web/docs/<id>/<language>.md in the others. Its
prose is written by hand. The lists of inputs and outputs at its end stand between two marks and are
made from the node and from locales/<language>/nodeDefs.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from frontend import get
from help_prose import DOCS, LANGUAGES, page_path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- lists -->", "<!-- /lists -->"
# By language: the headings of the two lists, and the words that describe values.
WORDS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("help_words.json").read_text(encoding="utf-8")
)


def own_nodes(url: str) -> dict[str, Any]:
    """Return the `/object_info` entries of this pack's nodes."""
    nodes = get(f"{url}/object_info")
    module = nodes["IID_Apply"]["python_module"]
    return {name: info for name, info in nodes.items() if info["python_module"] == module}


def values(kind: Any, options: dict[str, Any], language: str) -> str:
    """Describe the values an input takes: its range and default, or its choices; "" for links."""
    words = WORDS[language]
    if isinstance(kind, list) or kind == "COMBO":
        choices = kind if isinstance(kind, list) else options.get("options", [])
        known = [str(choice) for choice in choices if not str(choice).count(".")]
        return " / ".join(known) if known else words["file"]
    if kind in ("INT", "FLOAT"):
        span = f"{options['min']} {words['to']} {options['max']}"
        return f"{words['default']} {options['default']}, {span}"
    if kind == "BOOLEAN":
        return f"{words['default']} {words['on' if options.get('default') else 'off']}"
    return ""


def lists(info: dict[str, Any], texts: dict[str, Any], language: str) -> str:
    """Return the lists of a node: every input and output with what it is, one below the other.

    texts: the node's part of the language's nodeDefs.json.
    """
    words = WORDS[language]
    lines = [f"## {words['inputs']}", ""]
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            told = [values(spec[0], spec[1] if len(spec) > 1 else {}, language)]
            told += [words["optional"]] if group == "optional" else []
            lines += entry(name, texts["inputs"].get(name, {}), [text for text in told if text])
    lines += ["", f"## {words['outputs']}", ""]
    for index, name in enumerate(info["output_name"]):
        lines += entry(name, texts["outputs"].get(str(index), {}), [])
    return "\n".join(lines if info["output_name"] else lines[:-3])


def entry(name: str, text: dict[str, str], told: list[str]) -> list[str]:
    title = text.get("name", name)
    called = f"`{name}`" if title == name else f"**{title}** `{name}`"
    brackets = f" ({'; '.join(told)})" if told else ""
    tooltip = text.get("tooltip", "").replace("\n", " ")
    return [f"- {called}{brackets}" + (f"<br>{tooltip}" if tooltip else "")]


def write_lists(page: Path, made: str) -> bool:
    """Rewrite the lists between the marks of a page; False when there is no page.

    A page without both marks gets them at its end.
    """
    if not page.is_file():
        return False
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        before, after = f"{text.replace(BEGIN, '').rstrip()}\n\n", "\n"
    page.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8", newline="\n")
    return True


def update(nodes: dict[str, Any]) -> list[str]:
    """Bring the lists on these nodes' pages up to date; return the pages that are missing.

    nodes: their `/object_info` entries.
    """
    missing: list[str] = []
    for language in LANGUAGES:
        path = ROOT / "locales" / language / "nodeDefs.json"
        texts = json.loads(path.read_text(encoding="utf-8"))
        for name, info in nodes.items():
            page, own = page_path(name, language), texts.get(name, {"inputs": {}, "outputs": {}})
            if not write_lists(page, lists(info, own, language)):
                missing.append(str(page.relative_to(DOCS)))
    return missing
