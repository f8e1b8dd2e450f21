"""Node ids, inputs, their order, types and defaults stay as they were frozen.

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
    frozen = read()
    assert set(frozen) == set(now)
    assert breaches(now, frozen) == [], "run devtools/refresh.py"


NODE = "ApplyInstantIDAdvanced"
Change = Callable[[dict[str, list[list[Any]]]], object]
BREAKING: dict[str, tuple[Change, str]] = {
    "renamed": (lambda n: n["required"][7].__setitem__(0, "w"), "required were ['instantid'"),
    "reordered": (lambda n: n["required"].reverse(), "required were ['instantid'"),
    "put before": (lambda n: n["optional"].insert(0, ["new", "INT", 0, None]), "optional were"),
    "required": (
        lambda n: n["required"].append(["new", "INT", 0, None]),
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


def test_optional_last_inputs_and_new_choices_may_come(now: Promises) -> None:
    changed = copy.deepcopy(now)
    changed[NODE]["optional"].append(["new", "INT", 0, None])
    changed[NODE]["required"][-1][3].append("median")
    changed[NODE]["outputs"].append(["report", "STRING"])
    changed["IID_New"] = changed[NODE]
    assert breaches(now, changed) == []
