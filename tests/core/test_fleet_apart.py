"""The fleet stands beside the pack: neither knows the other, and only one knows the broker."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("nodes", "instantid_core", "devtools", "tests")
BROKER = {"dramatiq", "redis"}


def imports(path: Path) -> Iterator[str]:
    """Yield the first name of every import that leads out of the file's own folder."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level != 1:
            first, *rest = (node.module or "").split(".")
            yield rest[0] if first == "faithful_instantid" and rest else first


def test_only_the_fleet_imports_the_broker() -> None:
    files = [
        ROOT / "__init__.py",
        *(path for room in ROOMS for path in (ROOT / room).rglob("*.py")),
    ]
    assert len(files) > 100
    assert [str(path) for path in files if BROKER.intersection(imports(path))] == []


def test_no_node_imports_the_fleet_and_the_fleet_imports_no_node() -> None:
    pack = [path for room in ("nodes", "instantid_core") for path in (ROOT / room).rglob("*.py")]
    assert [str(path) for path in pack if "fleet" in set(imports(path))] == []
    own = {"faithful_instantid", "nodes", "instantid_core", "torch", "numpy", "comfy"}
    beside = list((ROOT / "fleet").rglob("*.py"))
    assert len(beside) > 10
    assert [str(path) for path in beside if own.intersection(imports(path))] == []
