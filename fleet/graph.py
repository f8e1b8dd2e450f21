"""A graph in ComfyUI's API form: where person, texts and seed go, and how it is filled."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FleetError

Graph = dict[str, dict[str, Any]]
LOAD_IDENTITY = "IID_LoadIdentity"
SAVERS = ("SaveImage", "PreviewImage")  # the first kind that is there gives the picture
SEEDS = ("seed", "noise_seed")


@dataclass(frozen=True)
class Places:
    """Node ids: of Load Identity, of the node whose pictures count, of the two texts (None where
    there is not exactly one); and (node id, input) of every seed."""

    identity: str
    picture: str
    prompt: str | None
    negative: str | None
    seeds: tuple[tuple[str, str], ...]


def load_graph(path: Path) -> Graph:
    """Return the nodes of a file; FleetError if it is no graph in API form.

    Every value is {"class_type": ..., "inputs": {...}, "_meta": ...}.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FleetError(f"{path} cannot be read as JSON: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("prompt"), dict):
        found = found["prompt"]
    if not isinstance(found, dict) or not found or not all(map(_is_node, found.values())):
        raise FleetError(
            f"{path} is no graph in API form. In ComfyUI, open the workflow and choose "
            "Workflow > Export (API)."
        )
    return found


def _is_node(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("class_type"), str)
        and isinstance(value.get("inputs"), dict)
    )


def find_places(graph: Graph, picture: str | None = None) -> Places:
    """Return where a row goes. picture: the node whose pictures count, where there are several."""
    return Places(
        identity=_only_identity(graph),
        picture=_picture_node(graph, picture),
        prompt=_text_node(graph, "positive"),
        negative=_text_node(graph, "negative"),
        seeds=tuple(seeds(graph)),
    )


def of_class(graph: Graph, kind: str) -> list[str]:
    return [key for key, node in graph.items() if node["class_type"] == kind]


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _only_identity(graph: Graph) -> str:
    found = of_class(graph, LOAD_IDENTITY)
    if len(found) != 1:
        raise FleetError(
            f"The graph has {len(found)} nodes Load Identity ({LOAD_IDENTITY}); exactly one is "
            "wanted, since a job is one person. Put it in place of Encode Face and its photo; "
            "fleet/graphs/portrait.json shows how."
        )
    return found[0]


def _picture_node(graph: Graph, wanted: str | None) -> str:
    if wanted is not None:
        return find_node(graph, wanted)
    for kind in SAVERS:
        found = of_class(graph, kind)
        if len(found) == 1:
            return found[0]
        if found:
            raise FleetError(
                f"The graph has {len(found)} nodes {kind} ({', '.join(found)}). Say with "
                "--picture which of them gives the picture."
            )
    raise FleetError(
        "The graph has no node SaveImage or PreviewImage. Add one, or name the node that gives "
        "the picture with --picture."
    )


def _text_node(graph: Graph, side: str) -> str | None:
    """Return the node with the text of one side, reached from whatever takes both sides."""
    found: set[str | None] = set()
    for node in graph.values():
        inputs = node["inputs"]
        if is_link(inputs.get("positive")) and is_link(inputs.get("negative")):
            found.add(_walk_to_text(graph, inputs[side], side))
    return found.pop() if len(found) == 1 else None


def _walk_to_text(graph: Graph, link: list[Any], side: str) -> str | None:
    for _ in range(len(graph)):
        inputs = graph.get(link[0], {"inputs": {}})["inputs"]
        if isinstance(inputs.get("text"), str):
            return link[0]
        link = inputs.get(side) or inputs.get("conditioning")
        if not is_link(link):
            return None
    return None


def seeds(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield the seeds of the sampling; those of this pack's nodes belong to the identity."""
    for key, node in graph.items():
        for name in SEEDS:
            value = node["inputs"].get(name)
            if isinstance(value, int) and not node["class_type"].startswith("IID_"):
                yield key, name


def find_node(graph: Graph, name: str) -> str:
    """Return the id of a node told by its id, else by a title or class that only it has."""
    if name in graph:
        return name
    titled = [key for key, node in graph.items() if node.get("_meta", {}).get("title") == name]
    found = titled or of_class(graph, name)
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{key} ({node['class_type']})" for key, node in graph.items())
    raise FleetError(
        f"{len(found)} nodes of the graph are called {name!r}. Use the id; there are {there}."
    )


def fill(graph: Graph, values: dict[tuple[str, str], Any]) -> Graph:
    """Return the graph as a plain prompt with these inputs: (node id, input) to value."""
    filled = {
        key: {"class_type": node["class_type"], "inputs": copy.deepcopy(node["inputs"])}
        for key, node in graph.items()
    }
    for (node, name), value in values.items():
        filled[node]["inputs"][name] = value
    return filled


def fitting(graph: Graph, node: str, name: str, value: Any) -> Any:
    """Return a value in the type that the graph has in this input.

    value: what a table holds, a string from CSV. FleetError if there is no such input, if a link
    holds it, or if the value is of another kind.
    """
    inputs = graph[node]["inputs"]
    if name not in inputs or is_link(inputs[name]):
        free = ", ".join(key for key, held in inputs.items() if not is_link(held)) or "none"
        raise FleetError(f"node {node} has no value {name!r} to set; it has {free}")
    held = inputs[name]
    wanted = type(held)
    if wanted is int and isinstance(value, float) or wanted is float and type(value) is int:
        return value
    if type(value) is wanted:
        return value
    if isinstance(value, str):
        return _from_text(value, wanted, f"{node}.{name}")
    raise FleetError(f"{node}.{name} is {value!r}; wanted something like {held!r}")


def _from_text(text: str, wanted: type, where: str) -> Any:
    try:
        if wanted is bool:
            return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]
        if wanted in (int, float):
            return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except (KeyError, ValueError) as error:
        raise FleetError(f"{where} is {text!r}; wanted a {wanted.__name__}") from error
    return text


def upstream(graph: Graph, link: list[Any]) -> Graph:
    """Return the nodes that a link depends on, as a plain prompt."""
    wanted, rest = {}, [link[0]]
    while rest:
        key = rest.pop()
        if key not in wanted:
            wanted[key] = graph[key]
            rest += [value[0] for value in graph[key]["inputs"].values() if is_link(value)]
    return fill(wanted, {})
