"""Words on the node that caused them, in the interface of whoever queued the prompt.

ComfyUI shows a text at a node that the server names; no JavaScript is needed. What a node made
keeps its `NodeText`, so that a later sampling can add what it found to the node that applied it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from comfy_execution.utils import get_executing_context

from ..log import Heard, listening, warn

Given = ParamSpec("Given")
Made = TypeVar("Made")
ALL_IS_WELL = "ok"


class NodeText:
    """The text at one node. It is one text: what is shown replaces what was there."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._own = ALL_IS_WELL
        self._found_later: list[str] = []
        self._prompt_id: str | None = None

    def show(self, heard: Heard) -> None:
        """Show what the node itself said."""
        first = [ALL_IS_WELL] if not heard.problems else heard.problems
        self._own = "\n".join([*first, *heard.found])
        self._send()

    def begin_sampling(self) -> None:
        """Drop what samplings of another prompt found."""
        prompt_id = _prompt_id()
        if prompt_id != self._prompt_id:
            had_some, self._found_later = bool(self._found_later), []
            self._prompt_id = prompt_id
            if had_some:
                self._send()

    def add(self, text: str) -> None:
        """Add what a sampling found."""
        if text not in self._found_later:
            self._found_later.append(text)
            self._send()

    def _send(self) -> None:
        own = [] if self._found_later and self._own == ALL_IS_WELL else [self._own]
        _send("\n".join([*self._found_later, *own]), self._node_id)


_current: ContextVar[NodeText | None] = ContextVar("faithful_instantid_node", default=None)


def current_node() -> NodeText | None:
    """Return the text of the node that is executing; None in a script."""
    return _current.get()


def told_on_node(execute: Callable[Given, Made]) -> Callable[Given, Made]:
    """Make a node's `execute` show what was found and what was warned of on the node, each run."""

    @functools.wraps(execute)
    def told(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        context = get_executing_context()
        if context is None:
            return execute(*args, **kwargs)
        node = NodeText(context.node_id)
        token = _current.set(node)
        try:
            with listening() as heard:
                made = execute(*args, **kwargs)
        finally:
            _current.reset(token)
        node.show(heard)
        return made

    return told


def warn_at(nodes: Iterable[NodeText | None], text: str) -> None:
    """Log a warning that a sampling found, and show it at the nodes it is about."""
    warn(text)
    for node in nodes:
        if node is not None:
            node.add(text)


def _prompt_id() -> str | None:
    context = get_executing_context()
    return None if context is None else context.prompt_id


def _send(text: str, node_id: str) -> None:
    """Send a node's text to the client that queued the prompt; to nobody if none did.

    The server is not imported: a script that uses the pack has none.
    """
    prompt_server: Any = getattr(sys.modules.get("server"), "PromptServer", None)
    server = getattr(prompt_server, "instance", None)
    client = getattr(server, "client_id", None)
    if server is not None and client is not None:
        server.send_progress_text(text, node_id, client)
