"""Changes to a workflow in API form, as pure functions: other files, other size, no InstantID."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Graph = dict[str, dict[str, Any]]


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
    """Return the graph with its one Apply InstantID bypassed, and without what feeds or shows it.

    StopIteration where the graph has no such node.
    """
    own = {key for key, node in graph.items() if node["class_type"].startswith("IID_")}
    applied = next(key for key in own if graph[key]["class_type"] == "IID_Apply")
    behind = [graph[applied]["inputs"][name] for name in ("model", "positive", "negative")]
    plain: Graph = {}
    for key, node in graph.items():
        sources = [value[0] for value in node["inputs"].values() if is_link(value)]
        if key not in own and not own.intersection(sources) - {applied}:
            inputs = {
                name: behind[value[1]] if is_link(value) and value[0] == applied else value
                for name, value in node["inputs"].items()
            }
            plain[key] = {**node, "inputs": inputs}
    return plain


def is_link(value: Any) -> bool:
    """Whether an input's value is a link: [node, output]."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
