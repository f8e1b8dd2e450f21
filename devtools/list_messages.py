"""Write the list of all messages of this pack into docs/messages.md, or check that it is current.

    python3 devtools/list_messages.py [--check]

Reads the sources: what is raised as an InstantIDError, and what is logged as a warning or more.
Values that are put in at run time stand as {names}. With --check nothing is written, and the exit
code is 1 when the list is out of date.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "messages.md"
FOLDERS = ("nodes", "instantid_core")
ERRORS = (
    *("InstantIDError", "MissingFileError", "MissingDependencyError", "WrongFileError"),
    *("WrongModelError", "WrongInputError", "NoFaceError"),
)
LOGS = {"warning": "warning", "error": "error", "log_once": "log, once"}
HEAD = """# All messages of this pack

Every error a node raises and every warning it logs, as the sources hold them. What stands in
`{}` is filled in when it happens. Made by `devtools/list_messages.py`.

| kind | from | message |
|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Message:
    """One message: its kind, the file it comes from, its text."""

    file: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        text = " ".join(self.text.split()).replace("|", "\\|").replace("<", "&lt;")
        return f"| {self.kind} | {self.file} | {text} |"


def messages() -> list[Message]:
    """Return the messages of all sources, in the order of the files."""
    found: list[Message] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            name = path.relative_to(ROOT).as_posix()
            found += [Message(name, line, kind, text) for line, kind, text in _of_module(tree)]
    return sorted(found)


def _of_module(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    texts = {
        target.id: _text(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, (ast.Constant, ast.JoinedStr))
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        kind = _kind(node.func)
        if kind is not None:
            text = _text(node.args[0])
            for name, value in texts.items():
                text = text.replace(f"{{{name}}}", value)
            yield node.lineno, kind, text


def _kind(called: ast.expr) -> str | None:
    """Return what kind of message a call gives, None if it gives none."""
    if isinstance(called, ast.Name):
        return called.id if called.id in ERRORS else LOGS.get(called.id)
    is_log = isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name)
    if is_log and called.value.id == "log":
        return LOGS.get(called.attr)
    return None


def _text(node: ast.expr) -> str:
    """Return the text of a string in the sources; what is not written out stands in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return f"{{{ast.unparse(node)}}}"


def main() -> int:
    text = HEAD + "\n".join(map(str, messages())) + "\n"
    if "--check" in sys.argv[1:]:
        return 0 if LIST.is_file() and LIST.read_text(encoding="utf-8") == text else 1
    LIST.write_text(text, encoding="utf-8")
    print(f"{LIST}: {text.count(chr(10)) - HEAD.count(chr(10))} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
