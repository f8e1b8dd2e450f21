"""Changes to a workflow in API form, as pure functions: other files, other size, no InstantID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Graph = dict[str, dict[str, Any]]
Link = list[Any]

# Which input each output of an apply node stands for when the node is bypassed.
BYPASS: Mapping[str, tuple[str, ...]] = {
    "IID_Apply": ("model", "positive", "negative"),
    "IID_ApplyAdapter": ("model",),
    "IID_ApplyIdentityNet": ("positive", "negative"),
}
OUTPUT_NODES = ("SaveImage", "PreviewImage")


def with_inputs(graph: Graph, changes: Mapping[str, Mapping[str, Any]]) -> Graph:
    """Return the graph with inputs replaced by node class: {class: {input: value}}.

    KeyError where no node has the class or a node of it lacks the input: a changed workflow or
    node must not go unnoticed.
    """
    for kind, inputs in changes.items():
        nodes = [node for node in graph.values() if node["class_type"] == kind]
        if not nodes:
            raise KeyError(f"the workflow has no {kind} node")
        for node in nodes:
            unknown = set(inputs) - set(node["inputs"])
            if unknown:
                raise KeyError(f"{kind} has no input {sorted(unknown)} in the workflow")
    return {
        key: {**node, "inputs": {**node["inputs"], **changes.get(node["class_type"], {})}}
        for key, node in graph.items()
    }


def without_instantid(graph: Graph) -> Graph:
    """Return the graph with the apply nodes bypassed, and without what then leads nowhere."""
    bypassed = {
        key: {**node, "inputs": {k: _behind(graph, v) for k, v in node["inputs"].items()}}
        for key, node in graph.items()
    }
    own = {key for key, node in graph.items() if node["class_type"].startswith("IID_")}
    # An output that shows something of the pack's, such as the numbered faces, goes too.
    waiting = [
        key
        for key, node in bypassed.items()
        if node["class_type"] in OUTPUT_NODES and not _leads_to(bypassed, key, own)
    ]
    wanted: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in wanted:
            wanted.add(key)
            inputs = bypassed[key]["inputs"].values()
            waiting += [value[0] for value in inputs if is_link(value)]
    return {key: node for key, node in bypassed.items() if key in wanted}


def _leads_to(graph: Graph, key: str, targets: set[str]) -> bool:
    if key in targets:
        return True
    links = [value for value in graph[key]["inputs"].values() if is_link(value)]
    return any(_leads_to(graph, link[0], targets) for link in links)


def _behind(graph: Graph, value: Any) -> Any:
    """Follow a link through apply nodes to what they were given."""
    while is_link(value) and graph[value[0]]["class_type"] in BYPASS:
        node = graph[value[0]]
        value = node["inputs"][BYPASS[node["class_type"]][value[1]]]
    return value


def is_link(value: Any) -> bool:
    """Whether an input's value is a link: [node, output]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
