"""What was measured, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from .metrics import MEASURED, Score, Summary

DIGITS = 6


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write a row for each picture; what could not be measured is empty."""
    _write(path, [field.name for field in fields(Score)], [asdict(score) for score in scores])


def write_summaries(path: Path, summaries: Sequence[Summary]) -> None:
    """Write a row for each setting: means, and standard errors under `..._error`."""
    rows = []
    for summary in summaries:
        row: dict[str, object] = {
            "setting": summary.setting,
            "pictures": summary.pictures,
            "no_face": summary.no_face,
            "seconds": summary.seconds,
        }
        for name, mean in summary.means.items():
            row |= {name: mean.value, f"{name}_error": mean.error}
        rows.append(row)
    both = [part for name in MEASURED for part in (name, f"{name}_error")]
    _write(path, ["setting", "pictures", "no_face", "seconds", *both], rows)


def _write(path: Path, names: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in row.items()} for row in rows)


def _rounded(value: object) -> object:
    if value is None:
        return ""
    return round(value, DIGITS) if isinstance(value, float) else value
