"""Node ids, inputs, their order, types, defaults and limits stay as they were frozen.

After adding a node or an optional last input, run devtools/refresh.py.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest
from faithful_instantid.devtools.freeze_nodes import Promises, breaches, promises, read
from faithful_instantid.nodes import FaithfulInstantID, folders


@pytest.fixture(scope="module")
def now() -> Promises:
    folders.register()
    return promises(asyncio.run(FaithfulInstantID().get_node_list()))


def test_every_node_keeps_what_was_frozen(now: Promises) -> None:
    assert breaches(read(), now) == []


def test_every_node_and_input_is_frozen(now: Promises) -> None:
    assert read() == now, "run devtools/refresh.py"


def test_every_choice_is_a_list_also_of_files_that_are_not_there(now: Promises) -> None:
    for node, promised in now.items():
        for name, kind, _, choices, _ in (*promised["required"], *promised["optional"]):
            assert isinstance(choices, list) == (kind == "COMBO"), f"{node}: {name}"


NODE = "ApplyInstantIDAdvanced"
Change = Callable[[dict[str, list[list[Any]]]], object]
BREAKING: dict[str, tuple[Change, str]] = {
    "renamed": (lambda n: n["required"][7].__setitem__(0, "w"), "required were ['instantid'"),
    "reordered": (lambda n: n["required"].reverse(), "required were ['instantid'"),
    "put before": (
        lambda n: n["optional"].insert(0, ["new", "INT", 0, None, None]),
        "optional were",
    ),
    "required": (
        lambda n: n["required"].append(["new", "INT", 0, None, None]),
        "a new input must be optional: ['new']",
    ),
    "of another type": (lambda n: n["required"][7].__setitem__(1, "INT"), "was FLOAT, now INT"),
    "of another default": (
        lambda n: n["required"][7].__setitem__(2, 1.0),
        "ip_weight's default was 0.8, now 1.0",
    ),
    "without a choice": (
        lambda n: n["required"][-1][3].pop(),
        "combine_embeds no longer offers ['concat']",
    ),
    "less far up": (
        lambda n: n["required"][7][4].update(max=2.0),
        "ip_weight was from 0.0 to 3.0, now from 0.0 to 2.0",
    ),
    "less far down": (
        lambda n: n["required"][7][4].update(min=0.5),
        "ip_weight was from 0.0 to 3.0, now from 0.5 to 3.0",
    ),
    "an output that is a list": (
        lambda n: n["outputs"][1].__setitem__(2, True),
        "positive was ['CONDITIONING', False], now ['CONDITIONING', True]",
    ),
    "an output less": (lambda n: n["outputs"].pop(), "outputs were ['MODEL', 'positive'"),
}


@pytest.mark.parametrize("change", BREAKING)
def test_a_breaking_change_is_named(now: Promises, change: str) -> None:
    alter, text = BREAKING[change]
    changed = copy.deepcopy(now)
    alter(changed[NODE])
    (found,) = breaches(now, changed)
    assert found.startswith(f"{NODE}: ") and text in found


def test_a_node_that_is_gone_is_named(now: Promises) -> None:
    rest = {name: promised for name, promised in now.items() if name != NODE}
    assert breaches(now, rest) == [f"{NODE}: the node is gone"]


def test_a_node_that_no_longer_runs_by_itself_is_named(now: Promises) -> None:
    changed = copy.deepcopy(now)
    changed["IID_SaveIdentity"]["node"][1][1] = False
    assert breaches(now, changed) == [
        "IID_SaveIdentity: it no longer runs without a node behind it"
    ]


def test_optional_last_inputs_new_choices_and_wider_limits_may_come(now: Promises) -> None:
    changed = copy.deepcopy(now)
    changed[NODE]["optional"].append(["new", "INT", 0, None, None])
    changed[NODE]["required"][-1][3].append("median")
    changed[NODE]["outputs"].append(["report", "STRING", False])
    changed[NODE]["required"][7][4].update(min=-1.0, max=5.0, step=0.1)
    changed[NODE]["node"][0][1] = "InstantID/elsewhere"
    changed["IID_New"] = changed[NODE]
    assert breaches(now, changed) == []
