"""One static HTML page of all that was seen; its pictures lie beside it."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .curves import Curve
from .metrics import Lines, Mean, Summary
from .sheets import Sheet

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem;
  color: #1c1c1c; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
td small { color: #777; }
tr.line td { color: #666; font-style: italic; }
img { max-width: 100%; height: auto; }
.curves { display: flex; flex-wrap: wrap; gap: 1rem; } .curves figure { flex: 1 1 480px; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; }
.warning { background: #fff3d6; border-left: 4px solid #d79b00; padding: .5rem 1rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 1rem; }
"""
HEADS = {
    "to_reference": "likeness to the reference",
    "to_held_out": "likeness to the held-out photo",
    "copy_paste": "copy-paste score",
    "text": "",
    "alike": "",
    "share": "face's share of the picture, %",
}
LIKENESSES = ("to_reference", "to_held_out")


@dataclass(frozen=True)
class Seen:
    """All that the page tells. facts: what was made and by what, in order."""

    facts: Mapping[str, str]
    summaries: Sequence[Summary]
    lines: Lines
    text_column: str | None
    alike_column: str | None
    curves: Sequence[Curve]
    sheets: Sequence[Sheet]
    prompts: Mapping[str, str]
    warnings: Sequence[str] = field(default_factory=tuple)


def write_page(path: Path, seen: Seen) -> None:
    """Write the page; its links are relative to it."""
    body = "\n".join(
        [
            "<h1>Likeness and prompt</h1>",
            *(f'<p class="warning">{html.escape(text)}</p>' for text in seen.warnings),
            _table(seen),
            "<h2>Curves</h2>" if seen.curves else "",
            f'<div class="curves">{_figures(path, seen.curves)}</div>',
            "<h2>How to read this</h2>",
            _reading(seen),
            "<h2>What was made</h2>",
            _list(seen.facts),
            "<h2>Prompts</h2>",
            _list(seen.prompts),
            "<h2>Pictures</h2>",
            _figures(path, seen.sheets),
        ]
    )
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Likeness and prompt</title><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _columns(seen: Seen) -> dict[str, str]:
    """Return heads by column: those in which any setting has a number."""
    heads = {**HEADS, "text": seen.text_column or "", "alike": seen.alike_column or ""}
    there = {name for summary in seen.summaries for name in summary.means}
    if seen.lines.same is not None or seen.lines.strangers is not None:
        there.add("to_reference")
    return {name: head for name, head in heads.items() if name in there}


def _table(seen: Seen) -> str:
    columns = _columns(seen)
    heads = ["setting", *columns.values(), "no face, %", "seconds a picture", "pictures"]
    rows = [_cells("th", map(html.escape, heads))]
    for name, value in (
        ("two photos of one person", seen.lines.same),
        ("photos of two people", seen.lines.strangers),
    ):
        if value is not None:
            cells = [f"{value:.3f}" if c in LIKENESSES else "" for c in columns]
            rows.append(_cells("td", [name, *cells, "", "", ""], "line"))
    for summary in seen.summaries:
        cells = [_number(name, summary.means.get(name)) for name in columns]
        rest = (f"{100 * summary.no_face:.0f}", f"{summary.seconds:.1f}", f"{summary.pictures}")
        rows.append(_cells("td", [html.escape(summary.setting), *cells, *rest]))
    return f"<table>\n{chr(10).join(rows)}\n</table>"


def _cells(tag: str, cells: Iterable[str], kind: str = "") -> str:
    inner = "".join(f"<{tag}>{cell}</{tag}>" for cell in cells)
    return f'<tr class="{kind}">{inner}</tr>'


def _number(name: str, mean: Mean | None) -> str:
    if mean is None:
        return "&ndash;"
    scale, digits = (100, 1) if name == "share" else (1, 3)
    error = "" if mean.error is None else f" <small>&plusmn;{scale * mean.error:.{digits}f}</small>"
    return f"{scale * mean.value:.{digits}f}{error}"


def _figures(page: Path, pictures: Sequence[Curve | Sheet]) -> str:
    return "\n".join(
        f'<figure><figcaption>{html.escape(one.words)}</figcaption><img loading="lazy" '
        f'src="{html.escape(_link(page, one.path))}" alt="{html.escape(one.words)}"></figure>'
        for one in pictures
    )


def _link(page: Path, path: Path) -> str:
    from urllib.parse import quote

    return quote(os.path.relpath(path, page.parent).replace(os.sep, "/"))


def _list(items: Mapping[str, str]) -> str:
    inner = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(words)}</dd>"
        for name, words in items.items()
    )
    return f"<dl>{inner}</dl>"


def _reading(seen: Seen) -> str:
    lines = {
        "Likeness": "cosine of the recogniser's numbers, means over the pictures with a face. Read "
        "it between the two lines: photos of two people are what chance gives, two photos of one "
        "person what no picture can be expected to pass. Likeness to the held-out photo says more: "
        "the reference is what the picture was made from.",
        "Copy-paste score": "(angle to the held-out photo - angle to the reference) / angle "
        "between both photos. 1 copies the reference, 0 is as like the one as the other, -1 is "
        "the held-out photo itself.",
        "\N{PLUS-MINUS SIGN}": "the standard error of the mean. Two settings that differ by less "
        "than twice that are not told apart by these pictures.",
        "Seconds": "the median, from queueing to the finished picture. Pictures of several "
        "machines in one folder cannot be compared by it.",
    }
    if seen.text_column:
        lines[seen.text_column] = (
            "how well the picture fits its prompt; without InstantID is the ceiling."
        )
    if seen.alike_column:
        lines[seen.alike_column] = (
            "how like the picture is to that of the same prompt and seed without InstantID."
        )
    return _list(lines)
