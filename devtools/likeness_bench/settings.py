"""The settings of a run: named graphs, and values set in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import QualityError
from .graphs import Nodes, Places, places_of, read_graph, set_inputs, set_values

OWN = Path(__file__).with_name("settings.json")


@dataclass(frozen=True)
class Setting:
    """A way to make a picture: a graph that lacks only photo, prompt and seed.

    curve: settings of one curve are joined by a line; empty for a setting of its own.
    """

    name: str
    nodes: Nodes
    places: Places
    curve: str = ""

    @property
    def has_person(self) -> bool:
        return self.places.photo is not None


def read_settings(
    path: Path = OWN,
    names: Sequence[str] = (),
    count: int | None = None,
    common: Mapping[str, Any] | None = None,
) -> list[Setting]:
    """Return the settings of a file: those of these names, else the first `count`.

    common: inputs that are set in all graphs first (see graphs.set_inputs); a setting's own values
    come after them. Raises QualityError.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise QualityError(f"--settings: {path} cannot be read as JSON ({error}).") from error
    if not isinstance(found, dict) or not all(map(_is_setting, found.values())):
        raise QualityError(
            f"--settings: {path} is no list of settings. Wanted "
            '{"NAME": {"graph": "FILE.json", "values": {"NODE.INPUT": VALUE}, "curve": "NAME"}, '
            "...}; values and curve may be left out."
        )
    unknown = [name for name in names if name not in found]
    if unknown:
        raise QualityError(f"--only: no setting {unknown[0]!r} in {path}; it has: {_told(found)}.")
    wanted = list(names) or list(found)[:count]
    return [_setting(name, found[name], path.parent, common or {}) for name in wanted]


def _is_setting(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("graph"), str)
        and isinstance(value.get("values", {}), dict)
        and isinstance(value.get("curve", ""), str)
    )


def _told(names: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, names))


def _setting(
    name: str, entry: Mapping[str, Any], folder: Path, common: Mapping[str, Any]
) -> Setting:
    nodes = set_inputs(read_graph(folder / entry["graph"]), common)
    nodes = set_values(nodes, entry.get("values", {}), f"--settings: {name}")
    return Setting(name, nodes, places_of(nodes, name), entry.get("curve", ""))
