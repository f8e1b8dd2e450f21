"""Which tests run which lines of the product, as coverage.py sees them.

A fault in a function need only meet the tests that run it. Lines that run in fixtures that several
tests share, or while modules are imported, count for the whole file.
"""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

EVERY = "*"  # instead of a test's name: all tests of a file


class Contexts:
    """A pytest plugin that tells a running coverage.Coverage which test runs what follows."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage

    def pytest_runtest_setup(self) -> None:
        self.coverage.switch_context(EVERY)

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> None:
        own = fixturedef.scope == "function"
        self.coverage.switch_context(request.node.nodeid if own else EVERY)

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_teardown(self) -> None:
        self.coverage.switch_context(EVERY)


class Durations:
    """A pytest plugin that writes how many seconds each test took, its set-up included."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self.place.write_text(json.dumps(self.seconds), encoding="utf-8")


class Only:
    """A pytest plugin that runs only these tests of the files collected, in this order."""

    def __init__(self, chosen: Sequence[str]) -> None:
        self.places = {nodeid: place for place, nodeid in enumerate(chosen)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = [item for item in items if item.nodeid in self.places]
        items[:] = sorted(found, key=lambda item: self.places[item.nodeid])


def quickest(seconds: Mapping[str, float], budget: float) -> list[str]:
    """Return tests in the order of their seconds, as many as fit a budget; at least one."""
    chosen: list[str] = []
    for nodeid in sorted(seconds, key=lambda nodeid: seconds[nodeid]):
        budget -= seconds[nodeid]
        if chosen and budget < 0:
            break
        chosen.append(nodeid)
    return chosen


def measured(data: Path, root: Path, product: Sequence[str]) -> Any:
    """Return a coverage.Coverage that has begun to look at the product's folders under `root`."""
    import coverage

    made = coverage.Coverage(
        data_file=str(data), config_file=False, source=[str(root / name) for name in product]
    )
    made.start()
    made.switch_context(EVERY)
    return made


def body_around(code: str, line: int) -> range:
    """Return the lines of the body of the innermost function around a line; empty outside of any.

    Arguments' defaults and decorators run at import: they are outside.
    """
    found = range(0)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef) and node.body[0].lineno <= line <= _end(node):
            own = range(node.body[0].lineno, _end(node) + 1)
            found = own if not found or len(own) < len(found) else found
    return found


def tests_of(data: Path, module: Path, lines: range) -> set[str]:
    """Return the names of tests that ran any of these lines, or EVERY among them."""
    from coverage import CoverageData

    if not lines:
        return {EVERY}
    kept = CoverageData(str(data))
    kept.read()
    by_line: dict[int, list[str]] = defaultdict(list, kept.contexts_by_lineno(str(module)))
    return {name for line in lines for name in _names(by_line[line])}


def _names(contexts: Sequence[str]) -> Iterator[str]:
    return (name or EVERY for name in contexts)


def _end(node: ast.FunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno
