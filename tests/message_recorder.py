"""Keep every message the pack makes while tests run; devtools/list_messages.py lists them.

INSTANTID_MESSAGES names the file they are added to, one JSON object per line: file, kind, text.
Nothing of this machine stands in it: temporary folders become /ComfyUI, the interpreter python.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = "INSTANTID_MESSAGES"
# Messages of validation are returned, not raised.
REFUSALS = {
    "nodes.folders": ("adapter_problem", "controlnet_problem", "identity_problem"),
    "nodes.legacy.inputs": ("first_weeks",),
}
NO_SOURCES = ("instantid_core/errors.py", "instantid_core/log.py")

_TEMPORARY = re.escape(tempfile.gettempdir())
_IN_PATH = r"[^/\s'\",;:)]+"
GENERIC = (
    (r"(?s)(Traceback [^\n]*)\n.*\n(?=\S)", r"\1 ...\n"),
    (rf"{_TEMPORARY}/pytest-of-{_IN_PATH}/pytest-\d+(/popen-\w+)?/{_IN_PATH}", "/ComfyUI"),
    (rf"{_TEMPORARY}/{_IN_PATH}", "/ComfyUI"),
    (re.escape(sys.executable), "python"),
    (re.escape(os.environ.get("COMFYUI_PATH") or "\0"), "/ComfyUI"),
    (re.escape(str(ROOT)), "/ComfyUI/custom_nodes/faithful-instantid"),
)


class Recorder(logging.Handler):
    """Adds messages to a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._known: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = {"INFO": "log", "ERROR": "log error"}.get(record.levelname, "warning")
        self.keep(kind, record.getMessage(), _source(sys._getframe()))

    def keep(self, kind: str, text: str, file: str) -> None:
        """Add a message that the pack made, unless it is there already."""
        line = json.dumps({"file": file, "kind": kind, "text": tidy(text)}, ensure_ascii=False)
        if file and line not in self._known:
            self._known.add(line)
            with self._path.open("a", encoding="utf-8") as out:
                out.write(line + "\n")


def _source(frame: FrameType | None) -> str:
    """Return the innermost source file on the stack that makes messages; "" where a test is it."""
    while frame is not None:
        file = _name(frame.f_code.co_filename)
        if file.startswith("tests/") and file != _name(__file__):
            return ""
        if file.startswith(("instantid_core/", "nodes/", "__init__")) and file not in NO_SOURCES:
            return file
        frame = frame.f_back
    return ""


def _name(path: str) -> str:
    """Return the path of a source file within the pack, "" outside of it."""
    return Path(path).relative_to(ROOT).as_posix() if Path(path).is_relative_to(ROOT) else ""


def tidy(text: str) -> str:
    """Return a message without what belongs to this machine."""
    for pattern, generic in GENERIC:
        text = re.sub(pattern, generic, text)
    return text.strip()


def start() -> None:
    """Record from now on: errors of this pack as they are made, and lines of its logger."""
    from faithful_instantid.instantid_core.errors import InstantIDError
    from faithful_instantid.instantid_core.log import log

    recorder = Recorder(Path(os.environ[VARIABLE]))

    def made(self: InstantIDError, *args: object) -> None:
        Exception.__init__(self, *args)
        recorder.keep(type(self).__name__, str(self), _source(sys._getframe()))

    InstantIDError.__init__ = made  # type: ignore[method-assign]
    log.addHandler(recorder)
    log.setLevel(logging.INFO)


def watch_refusals() -> None:
    """Record what validation says too, where the nodes are loaded."""
    recorder = Recorder(Path(os.environ[VARIABLE]))
    for name, checks in REFUSALS.items():
        module = sys.modules.get(f"faithful_instantid.{name}")
        for check in checks if module is not None else ():
            file = f"{name.replace('.', '/')}.py"
            setattr(module, check, _watched(getattr(module, check), recorder, file))


def _watched(check: Callable[..., Any], recorder: Recorder, file: str) -> Callable[..., Any]:
    @functools.wraps(check)
    def watched(*args: Any) -> Any:
        answer = check(*args)
        if isinstance(answer, str):
            recorder.keep("refused", answer, file)
        return answer

    return watched
