"""What goes from one node to the next is a record that nobody can change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Built up by one function, which hands out what it made of them.
BUILT_UP = {"Track", "Heard"}
ARRAYS = ("Tensor", "NDArray", "Picture", "Landmarks")


def records() -> Iterator[tuple[str, ast.ClassDef, dict[str, bool]]]:
    """Yield every dataclass of the product: its file, itself, and what it was declared with."""
    for room in ("nodes", "instantid_core"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for mark in node.decorator_list if isinstance(node, ast.ClassDef) else ():
                    call = mark.func if isinstance(mark, ast.Call) else mark
                    if isinstance(call, ast.Name) and call.id == "dataclass":
                        told = mark.keywords if isinstance(mark, ast.Call) else []
                        settings = {k.arg or "": ast.unparse(k.value) == "True" for k in told}
                        yield path.relative_to(ROOT).as_posix(), node, settings


RECORDS = [pytest.param(*record, id=record[1].name) for record in records()]


@pytest.mark.parametrize(("path", "record", "settings"), RECORDS)
def test_a_record_is_frozen_and_never_compares_tensors(
    path: str, record: ast.ClassDef, settings: dict[str, bool]
) -> None:
    assert settings.get("frozen", False) == (record.name not in BUILT_UP), path
    fields = [
        ast.unparse(part.annotation) for part in record.body if isinstance(part, ast.AnnAssign)
    ]
    if any(name in field for field in fields for name in ARRAYS):
        # `==` of two tensors is a tensor: an equality made of it raises, or says nothing.
        assert settings.get("eq", True) is False, path
