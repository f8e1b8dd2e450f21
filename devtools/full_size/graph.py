"""Changes to a workflow in API form, as pure functions: other files, other size, no InstantID."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

Graph = dict[str, dict[str, Any]]


def with_inputs(graph: Graph, changes: Mapping[str, Mapping[str, Any]]) -> Graph:
    """Return the graph with inputs replaced by node class: {class: {input: value}}.

    KeyError where no node has the class or a node of it lacks the input: a changed workflow or
    node must not go unnoticed.
    """
    made = copy.deepcopy(graph)
    for kind, inputs in changes.items():
        nodes = [node["inputs"] for node in made.values() if node["class_type"] == kind]
        if not nodes:
            raise KeyError(f"the workflow has no {kind} node")
        for own in nodes:
            if unknown := set(inputs) - set(own):
                raise KeyError(f"{kind} has no input {sorted(unknown)} in the workflow")
            own.update(inputs)
    return made


def without_instantid(graph: Graph) -> Graph:
    """Return the graph with its one Apply InstantID bypassed, and without what feeds or shows it.

    StopIteration where the graph has no such node.
    """
    own = {key for key, node in graph.items() if node["class_type"].startswith("IID_")}
    applied = next(key for key in own if graph[key]["class_type"] == "IID_Apply")
    behind = [graph[applied]["inputs"][name] for name in ("model", "positive", "negative")]
    plain: Graph = {}
    for key, node in graph.items():
        links = {k: value for k, value in node["inputs"].items() if isinstance(value, list)}
        sources = {source for source, _ in links.values()}
        if key not in own and not own.intersection(sources) - {applied}:
            bypassed = {k: behind[slot] for k, (source, slot) in links.items() if source == applied}
            plain[key] = {**node, "inputs": {**node["inputs"], **bypassed}}
    return plain
