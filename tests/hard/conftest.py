"""Hard use: a real ComfyUI in this process and on a server, and a tally of what was tried.

INSTANTID_TESTS_LONG=1 (devtools/test.py hard --long) runs everything at its full length. The short
form tries the same examples every time; the long one makes up new ones.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from ..host.conftest import (  # noqa: F401  (fixtures)
    adapter,
    adapter_weights,
    identity,
    make_controlnet,
    official,
    tiny_model,
)
from ..server.conftest import server, started  # noqa: F401  (fixtures)

LONG = os.environ.get("INSTANTID_TESTS_LONG") == "1"
TALLY = pytest.StashKey[Counter[str]]()

Tally = Callable[[str, int], None]


settings.register_profile("short", derandomize=True)
settings.load_profile("default" if LONG else "short")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Counter()


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """Count something that the end of the run reports."""

    def count(what: str, number: int = 1) -> None:
        pytestconfig.stash[TALLY][what] += number

    return count


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one of several processes: hand what was counted to the one that reports."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tally"] = dict(session.config.stash[TALLY])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what one of several processes has counted."""
    total = node.config.stash[TALLY]
    for what, number in getattr(node, "workeroutput", {}).get("tally", {}).items():
        total[what] += number


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    length = "long" if LONG else "short"
    terminalreporter.section(f"hard use, {length} form")
    for what, number in sorted(config.stash[TALLY].items()):
        terminalreporter.write_line(f"{number:>7}  {what}")
