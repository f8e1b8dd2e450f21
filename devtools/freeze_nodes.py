"""Write down what every node promises: id, inputs in order, types, defaults, limits, outputs.

    <environment's python> devtools/freeze_nodes.py COMFYUI [--anew]

Saved workflows hold widget values by position and links by name, so a released node keeps both.
New inputs are optional and stand last, and limits only widen; new nodes, inputs and choices are
added to the list, and what breaks nothing, such as a node's menu, is written anew. A change that
would break saved workflows is named, and nothing is written. --anew writes the list as the nodes
are now: only for what was never released.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FROZEN = ROOT / "tests" / "host" / "frozen_nodes.json"

Promise = dict[str, list[list[Any]]]
Promises = dict[str, Promise]
GROUPS = ("required", "optional")
TEXTS = ("tooltip", "display_name")  # of an input: they are held by locales/en/nodeDefs.json


def promise(info: dict[str, Any]) -> Promise:
    """Return a node's promise from its `/object_info` entry.

    Inputs are [name, type, default, choices, limits and all other options], outputs [name, type,
    whether it is a list]; null where there is none. "node" are [name, value] of the node itself.
    """

    def described(name: str, spec: Any) -> list[Any]:
        options = spec[1] if len(spec) > 1 else {}
        choices = options.get("options") if spec[0] == "COMBO" else None
        told = ("default", *TEXTS) if choices is None else ("default", "options", *TEXTS)
        rest = {key: value for key, value in options.items() if key not in told}
        return [name, spec[0], options.get("default"), choices, rest or None]

    inputs = {
        group: [described(*item) for item in info["input"].get(group, {}).items()]
        for group in GROUPS
    }
    each = zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    node = [[name, info[name]] for name in ("category", "output_node", "deprecated")]
    return {"node": node, **inputs, "outputs": [list(output) for output in each]}


def promises(nodes: Iterable[Any]) -> Promises:
    """Return the promises of V3 node classes, by id."""
    infos = [node.GET_NODE_INFO_V1() for node in nodes]
    return {info["name"]: promise(info) for info in sorted(infos, key=lambda i: i["name"])}


def breaches(frozen: Promises, now: Promises) -> list[str]:
    """Say in sentences where the nodes no longer keep what is frozen."""
    gone = [f"{name}: the node is gone" for name in frozen if name not in now]
    kept = [name for name in frozen if name in now]
    return gone + [f"{name}: {text}" for name in kept for text in _broken(frozen[name], now[name])]


def _broken(before: Promise, now: Promise) -> list[str]:
    texts: list[str] = []
    for group in (*GROUPS, "outputs"):
        names = [[one[0] for one in promised[group]] for promised in (before, now)]
        if names[1][: len(names[0])] != names[0]:
            texts.append(f"{group} were {names[0]} in this order, now {names[1]}")
        elif group == "required" and names[0] != names[1]:
            texts.append(f"a new input must be optional: {names[1][len(names[0]) :]}")
        else:
            for one, other in zip(before[group], now[group], strict=False):
                if group != "outputs":
                    texts += _of_inputs(one, other)
                elif one != other:
                    texts.append(f"{one[0]} was {one[1:]}, now {other[1:]}")
    if dict(before["node"])["output_node"] and not dict(now["node"])["output_node"]:
        texts.append("it no longer runs without a node behind it")
    return texts


def _of_inputs(before: list[Any], now: list[Any]) -> list[str]:
    name = before[0]
    texts: list[str] = []
    if not set(before[1].split(",")) <= set(now[1].split(",")):
        texts.append(f"{name} was {before[1]}, now {now[1]}")
    if before[2] != now[2]:
        texts.append(f"{name}'s default was {before[2]!r}, now {now[2]!r}")
    lost = [choice for choice in before[3] or [] if choice not in (now[3] or [])]
    if lost:
        texts.append(f"{name} no longer offers {lost}")
    (least, most), (least_now, most_now) = _limits(before), _limits(now)
    if least_now > least or most_now < most:
        texts.append(f"{name} was from {least} to {most}, now from {least_now} to {most_now}")
    return texts


def _limits(described: list[Any]) -> tuple[float, float]:
    rest = described[4] or {}
    return rest.get("min", -math.inf), rest.get("max", math.inf)


def read() -> Promises:
    return json.loads(FROZEN.read_text(encoding="utf-8")) if FROZEN.is_file() else {}


def write(found: Promises) -> None:
    """One line for each input and output, so that a difference reads well."""
    nodes: list[str] = []
    for name, promised in found.items():
        groups: list[str] = []
        for group, rows in promised.items():
            lines = ",\n".join(f"      {json.dumps(row)}" for row in rows)
            groups.append(f'    "{group}": [\n{lines}\n    ]' if rows else f'    "{group}": []')
        nodes.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(groups) + "\n  }")
    FROZEN.write_text("{\n" + ",\n".join(nodes) + "\n}\n", encoding="utf-8", newline="\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("comfyui", type=Path, help="the ComfyUI tree")
    parser.add_argument("--anew", action="store_true", help="forget what was frozen")
    arguments = parser.parse_args()
    maker = importlib.import_module("make_standins")
    maker.start_comfyui(arguments.comfyui.resolve())
    maker.checkout()
    pack = importlib.import_module(f"{maker.PACKAGE}.nodes")
    pack.folders.register()
    now = promises(asyncio.run(pack.FaithfulInstantID().get_node_list()))
    broken = [] if arguments.anew else breaches(read(), now)
    print("\n".join(broken) or f"{len(now)} nodes frozen in {FROZEN.relative_to(ROOT)}")
    if not broken:
        write(now)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
