"""The search for leaks finds what grows from step to step or from picture to picture."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def script(script_module: Callable[[str], ModuleType]) -> ModuleType:
    """devtools/growth.py as a module."""
    return script_module("growth")


def test_what_stays_the_same_but_for_the_allocator_s_noise_has_not_grown(
    script: ModuleType,
) -> None:
    early = script.Look(objects=500, held=20 * MIB, tensors=100 * MIB, memory=900 * MIB)
    late = script.Look(objects=510, held=20 * MIB, tensors=101 * MIB, memory=930 * MIB)
    assert script.growth(early, late) == []


@pytest.mark.parametrize(
    ("name", "added", "text"),
    [
        ("objects", 400, "objects of the pack grew from 500 to 900; 40 more"),
        ("held", 2 * MIB, "bytes held by the pack grew from 20,971,520 to 23,068,672"),
        ("tensors", 5 * MIB, "bytes of all tensors grew from"),
        ("memory", 64 * MIB, "bytes of the server's own memory grew from"),
    ],
)
def test_each_figure_that_grows_is_named_with_both_values(
    script: ModuleType, name: str, added: int, text: str
) -> None:
    figures = {"objects": 500, "held": 20 * MIB, "tensors": 100 * MIB, "memory": 900 * MIB}
    early = script.Look(**figures)
    late = script.Look(**{**figures, name: figures[name] + added})
    (sentence,) = script.growth(early, late)
    assert sentence.startswith(text)


def test_of_several_looks_the_lowest_counts(script: ModuleType) -> None:
    looks = [script.Look(5, 30, 7, 9), script.Look(6, 20, 8, 4)]
    assert script.lowest(looks) == script.Look(5, 20, 7, 4)


def test_the_workflow_is_the_basic_example_at_the_wanted_length(script: ModuleType) -> None:
    nodes = {node["class_type"]: node["inputs"] for node in script.workflow(7, 3, 0.5).values()}
    assert nodes["KSampler"]["steps"] == 7
    assert nodes["KSampler"]["seed"] == 3
    assert nodes["IID_Apply"]["weight"] == 0.5
    assert nodes["EmptyLatentImage"]["width"] == 64
