"""A graph in ComfyUI's API form: where photo, prompt and seed go, and how it is filled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...fleet import graph as api_graph
from ...fleet.errors import FleetError
from .errors import QualityError

Nodes = dict[str, dict[str, Any]]
PHOTO, PROMPT = "Face photo", "Prompt"  # titles
# Inputs that name model files, by what the command line calls them.
FILES = {
    "checkpoint": ("ckpt_name",),
    "adapter": ("file", "instantid_file"),
    "identitynet": ("identitynet", "control_net_name"),
}


@dataclass(frozen=True)
class Places:
    """Node ids. photo: of the Load Image of the face photo, None where nobody is put in."""

    photo: str | None
    prompt: str
    picture: str
    seeds: tuple[tuple[str, str], ...]


def read_graph(path: Path) -> Nodes:
    """Return the nodes of a file. Raises QualityError where it is no graph in API form."""
    try:
        return api_graph.load_graph(path)
    except FleetError as error:
        raise QualityError(str(error)) from error


def places_of(nodes: Nodes, name: str) -> Places:
    """Return where things go in the graph of a setting. Raises QualityError."""
    photos = api_graph.of_class(nodes, "LoadImage")
    photo = _only(nodes, photos, PHOTO, f"{name}: Load Image") if photos else None
    texts, pictures = _texts_behind_positive(nodes), api_graph.of_class(nodes, "SaveImage")
    seeds = tuple(api_graph.seeds(nodes))
    if not seeds:
        raise QualityError(f"{name}: the graph has no seed to set, as KSampler has one.")
    return Places(
        photo=photo,
        prompt=_only(nodes, texts, PROMPT, f"{name}: text behind `positive`"),
        picture=_only(nodes, pictures, "Save Image", f"{name}: Save Image"),
        seeds=seeds,
    )


def title_of(node: Mapping[str, Any]) -> str:
    return node.get("_meta", {}).get("title", "")


def _only(nodes: Nodes, keys: list[str], title: str, what: str) -> str:
    titled = [key for key in keys if title_of(nodes[key]) == title]
    found = titled if len(keys) > 1 else keys
    if len(found) != 1:
        raise QualityError(
            f"{what}: the graph has {len(keys)}, of which {len(titled)} have the title {title!r}; "
            "exactly one is wanted. Give that title to the right node and export it again."
        )
    return found[0]


def _texts_behind_positive(nodes: Nodes) -> list[str]:
    """Return the nodes with a text that positive sides come from, each once.

    A node that takes the positive side itself is one to begin with, so that only those that take
    a single conditioning are walked through.
    """
    found: dict[str, None] = {}
    for node in nodes.values():
        link = node["inputs"].get("positive")
        for _ in nodes:
            if not isinstance(link, list) or link[0] not in nodes:
                break
            inputs = nodes[link[0]]["inputs"]
            if isinstance(inputs.get("text"), str):
                found[link[0]] = None
                break
            link = inputs.get("conditioning")
    return list(found)


def set_values(nodes: Nodes, values: Mapping[str, Any], where: str) -> Nodes:
    """Return a copy of a graph with other values. values: by `title or id of the node.input`.

    Raises QualityError where there is no such node or input, or a link holds it.
    """
    made = copy.deepcopy(nodes)
    for place, value in values.items():
        name, dot, slot = place.rpartition(".")
        keys = [key for key, node in made.items() if name in (key, title_of(node))]
        if not dot or len(keys) != 1:
            there = ", ".join(title_of(node) or key for key, node in made.items())
            raise QualityError(
                f"{where}: {place!r} names {len(keys)} nodes of the graph; wanted one, as "
                f"`Apply InstantID.weight`. There are: {there}."
            )
        inputs = made[keys[0]]["inputs"]
        if slot not in inputs or isinstance(inputs[slot], list):
            free = ", ".join(key for key, held in inputs.items() if not isinstance(held, list))
            raise QualityError(f"{where}: {name} has no value {slot!r} to set; it has: {free}.")
        inputs[slot] = value
    return made


def set_inputs(nodes: Nodes, values: Mapping[str, Any]) -> Nodes:
    """Return a copy in which every input of these names that holds a value holds this one.

    values: by input, or by `class.input` for nodes of one class alone.
    """
    made = copy.deepcopy(nodes)
    for name, value in values.items():
        kind, _, slot = name.rpartition(".")
        for node in made.values():
            held = node["inputs"].get(slot)
            right = not kind or node["class_type"] == kind
            if right and held is not None and not isinstance(held, list):
                node["inputs"][slot] = value
    return made


def fill(nodes: Nodes, places: Places, photo: str, prompt: str, seed: int) -> Nodes:
    """Return the plain prompt of one picture. photo: the server's name of it."""
    made = {
        key: {"class_type": node["class_type"], "inputs": copy.deepcopy(node["inputs"])}
        for key, node in nodes.items()
    }
    if places.photo is not None:
        made[places.photo]["inputs"]["image"] = photo
    made[places.prompt]["inputs"]["text"] = prompt
    for key, name in places.seeds:
        made[key]["inputs"][name] = seed
    return made
