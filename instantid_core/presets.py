"""Named sets of values for those who would rather choose a word than numbers."""

from __future__ import annotations

from dataclasses import dataclass

from . import checks
from .weighting import Adding

AS_SET = "as set"


@dataclass(frozen=True)
class Preset:
    """What stands in the place of a node's own values: weight, strength, and how is added."""

    weight: float
    strength: float
    adding: Adding = Adding.PLAIN


# What each does to likeness and prompt was measured on drawn people: docs/proof.md.
PRESETS = {
    "balanced": Preset(0.8, 0.8),
    "more alike": Preset(1.0, 1.0),
    "more prompt": Preset(0.5, 0.6),
    "few steps": Preset(0.6, 0.8),
}
NAMES = (AS_SET, *PRESETS)


def preset_or(name: str, own: Preset) -> Preset:
    """Return the values of a name; AS_SET: `own`. Raises WrongInputError for no such name."""
    if name not in NAMES:
        raise checks.unknown("preset", name, NAMES)
    return PRESETS.get(name, own)
