"""Write docs/messages.md: every message of this pack, as a user met it.

    INSTANTID_MESSAGES=recorded.jsonl python3 devtools/test.py core host
    python3 devtools/list_messages.py [--check] [recorded.jsonl ...]

The first command runs the tests and keeps every message they run into (tests/message_recorder.py);
what only an older ComfyUI brings about is met with `--comfyui-version 0.16.3`. The second looks for
the texts of messages in the sources and takes a sample for each: one of
devtools/message_samples.json if it still fits, else one that was recorded; without that file all
are taken anew. It writes the samples and the list. With --check nothing is written. The exit code
is 1 when a text has no sample, or when --check finds the list out of date.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "messages.md"
SAMPLES = ROOT / "devtools" / "message_samples.json"

# Where every longer string is part of a message; in the other sources only what is raised, logged
# or a constant, since most strings there are the nodes' own words.
ALL_STRINGS = ("instantid_core/", "nodes/folders.py")
WORDS = 4  # a string of fewer is no text, unless it is raised or logged
ANYTHING = ".*"  # stands for what is put in at run time
ERRORS = {
    node.name
    for node in ast.parse((ROOT / "instantid_core" / "errors.py").read_text("utf-8")).body
    if isinstance(node, ast.ClassDef)
}
LOGS = {
    **{"log.warning": "warning", "log.error": "log error", "error": "log error"},
    **{"log.info": "log", "log_once": "log", "log.debug": "debug"},
    **{"warn": "warning", "tell": "log", "note_problem": "node"},
}
HEAD = """# All messages of this pack

Every message that a user can meet, with a sample: this is what came up when the tests ran into it.
Names, numbers and folders differ from case to case; `/ComfyUI` stands for the folder of ComfyUI and
`python` for the Python that runs it.

- **...Error**: a node stops with it, and ComfyUI shows it. The next prompt runs as usual.
- **refused**: ComfyUI shows it at the node and does not start the prompt.
- **warning**, **log error**, **log**: a line in ComfyUI's log. After a warning the prompt goes on.
  Warnings, and what is not applied, stand on the node too.
- **node**: a text on the node alone; the log has its cause.

Made by `devtools/list_messages.py` from the sources and from what the tests meet.
"""


@dataclass(frozen=True)
class Text:
    """A text in the sources. kind: what raises or logs it; None for a part of any message."""

    file: str
    line: int
    kind: str | None
    pattern: str

    def fits(self, sample: Sample) -> bool:
        """Say whether a sample is this message, or has this part in it."""
        if self.kind is None:
            return re.search(self.pattern, sample.text, re.DOTALL) is not None
        from_here = (self.kind, self.file) == (sample.kind, sample.file)
        return from_here and re.fullmatch(self.pattern, sample.text, re.DOTALL) is not None


@dataclass(frozen=True, order=True)
class Sample:
    """A message as it was met: the source file it came from, its kind, its text."""

    file: str
    kind: str
    text: str

    def __str__(self) -> str:
        text = re.sub(r"([|*])", r"\\\1", self.text.replace("<", "&lt;")).replace("\n", "<br>")
        return f"| {self.kind} | {text} |"


def texts() -> list[Text]:
    """Return the texts of all sources, in the order of files and lines."""
    paths = [ROOT / "__init__.py"]
    for folder in ("nodes", "instantid_core"):
        paths += sorted((ROOT / folder).rglob("*.py"))
    paths.remove(ROOT / "instantid_core" / "log.py")
    return [text for path in paths for text in _texts_of(path)]


def choose(wanted: Sequence[Text], *stores: Sequence[Sample]) -> tuple[list[Sample], list[Text]]:
    """Return samples with every text in them, and the texts without one.

    Each text is looked for in one store after the other; of several samples the one is taken that
    has most texts in it, of those the shortest.
    """
    chosen: list[Sample] = []
    missing: list[Text] = []

    def rank(sample: Sample) -> tuple[int, int, str]:
        return -sum(text.fits(sample) for text in wanted), len(sample.text), sample.text

    for text in wanted:
        if any(map(text.fits, chosen)):
            continue
        fitting = (list(filter(text.fits, store)) for store in stores)
        best = min(next(filter(None, fitting), []), key=rank, default=None)
        if best is None:
            missing.append(text)
        else:
            chosen.append(best)
    return sorted(chosen), missing


def page(samples: Sequence[Sample]) -> str:
    """Return the list as Markdown, by source file."""
    parts = [HEAD]
    for file, group in groupby(samples, key=lambda sample: sample.file):
        rows = "\n".join(map(str, group))
        parts.append(f"## {file}\n\n| kind | message |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def read_samples(path: Path) -> list[Sample]:
    """Return the samples of a file with one JSON object per line, or one JSON list."""
    text = path.read_text(encoding="utf-8")
    entries = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
    return [Sample(**entry) for entry in entries]


def write_samples(samples: Sequence[Sample]) -> str:
    """Return the samples as a JSON list, one per line where it is short."""
    return json.dumps([vars(sample) for sample in samples], indent=1, ensure_ascii=False) + "\n"


def _texts_of(path: Path) -> Iterator[Text]:
    file = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node, kind in _strings(tree):
        pattern = _pattern(node)
        is_constant = any(isinstance(part, ast.Assign) and part.value is node for part in tree.body)
        words = [word for word in pattern.replace(ANYTHING, "").split() if re.search("[a-z]", word)]
        anywhere = file.startswith(ALL_STRINGS) or is_constant
        if words and (kind is not None or (anywhere and len(words) >= WORDS)):
            yield Text(file, node.lineno, kind, pattern)


def _strings(node: ast.AST, kind: str | None = None) -> Iterator[tuple[ast.AST, str | None]]:
    """Yield the strings in a node, each with the kind of message it is raised or logged as.

    kind: of the message that this node is.
    """
    inside = _kind(node)
    if _is_no_message(node) or inside == "debug":
        return
    if kind is not None or _is_string(node) or isinstance(node, ast.JoinedStr):
        yield node, kind
    for part in ast.iter_child_nodes(node):
        is_told = isinstance(node, ast.Call) and part in node.args[:1]
        if not (isinstance(node, ast.JoinedStr) and _is_string(part)):
            yield from _strings(part, inside if is_told else None)


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_no_message(node: ast.AST) -> bool:
    """Say whether a node is a docstring, or the words of a node's own widgets."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id.endswith("_TOOLTIP") for t in node.targets)
    return isinstance(node, ast.keyword) and node.arg in ("tooltip", "description")


def _kind(node: ast.AST) -> str | None:
    """Return what kind of message a call gives, None if it gives none."""
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    if called in ERRORS:
        return called
    return LOGS.get(called.removeprefix("logging.getLogger('faithful_instantid')."))


def _pattern(node: ast.AST) -> str:
    """Return a regular expression for a string; what is put in at run time is anything."""
    if isinstance(node, ast.Constant):
        return re.sub(r"%[.\d]*[sdf]", ANYTHING, re.escape(str(node.value)))
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_pattern, node.values))
    return ANYTHING


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recorded", nargs="*", type=Path, help="files that the tests wrote")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    known = read_samples(SAMPLES) if SAMPLES.is_file() else []
    recorded = [sample for path in options.recorded for sample in read_samples(path)]
    samples, missing = choose(texts(), known, recorded)
    for text in missing:
        print(f"{text.file}:{text.line}: no sample ({text.kind or 'part'}): {text.pattern[:100]}")
    if not options.check:
        SAMPLES.write_text(write_samples(samples), encoding="utf-8", newline="\n")
        LIST.write_text(page(samples), encoding="utf-8", newline="\n")
        print(f"{LIST}: {len(samples)} messages")
    current = LIST.is_file() and LIST.read_text(encoding="utf-8") == page(samples)
    return 0 if current and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
