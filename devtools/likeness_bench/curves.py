"""What a setting gives up for what it gains, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .metrics import Lines, Mean, Summary

SIZE, DPI = (7.2, 4.6), 110


@dataclass(frozen=True)
class Axis:
    """A measured column (see metrics.MEASURED) and its words."""

    column: str
    words: str


@dataclass(frozen=True)
class Curve:
    """A picture of settings over two axes."""

    path: Path
    words: str


LIKENESS = Axis("to_held_out", "likeness to the held-out photo (cosine)")
TO_REFERENCE = Axis("to_reference", "likeness to the reference (cosine)")
COPY = Axis("copy_paste", "copy-paste score (1 is a copy)")


def write_curves(
    folder: Path,
    summaries: Sequence[Summary],
    lines: Lines,
    text: str | None,
    joined: Mapping[str, str],
) -> list[Curve]:
    """Write the curves for which anything was measured.

    text: the prompt column's words. joined: by setting, the name of the line it belongs to, or "".
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [("copy_paste", LIKENESS, COPY, "Likeness and copying")]
    if text is not None:
        fits = Axis("text", f"fit to the prompt ({text})")
        there = any(LIKENESS.column in summary.means for summary in summaries)
        pairs.insert(
            0, ("prompt", LIKENESS if there else TO_REFERENCE, fits, "Likeness and prompt")
        )
    curves = []
    for name, x, y, words in pairs:
        points = [s for s in summaries if x.column in s.means and y.column in s.means]
        if points:
            path = folder / f"{name}.png"
            _draw(path, points, (x, y), lines, joined)
            curves.append(Curve(path, words))
    return curves


def _draw(
    path: Path,
    points: Sequence[Summary],
    sides: tuple[Axis, Axis],
    lines: Lines,
    joined: Mapping[str, str],
) -> None:
    from matplotlib.figure import Figure

    x, y = sides
    figure = Figure(SIZE, layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(filter(None, (joined[point.setting] for point in points))):
        own = [point.means for point in points if joined[point.setting] == name]
        line = sorted((means[x.column].value, means[y.column].value) for means in own)
        if len(line) > 1:
            axes.plot(*zip(*line, strict=True), color="0.7", label=name)
    for number, summary in enumerate(points):
        across, up = summary.means[x.column], summary.means[y.column]
        errors = {"xerr": _error(across), "yerr": _error(up)}
        axes.errorbar(
            *(across.value, up.value),
            **errors,
            **{"fmt": "o", "color": f"C{number}", "capsize": 3, "label": summary.setting},
        )
    _draw_lines(axes, lines)
    axes.set_xlabel(x.words)
    axes.set_ylabel(y.words)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=9)
    figure.savefig(path, dpi=DPI)


def _draw_lines(axes: Any, lines: Lines) -> None:
    for value, style, words in (
        (lines.same, "--", "two photos of one person"),
        (lines.strangers, ":", "photos of two people"),
    ):
        if value is not None:
            axes.axvline(value, linestyle=style, color="0.35", label=words)


def _error(mean: Mean) -> float:
    return mean.error or 0.0
