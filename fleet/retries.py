"""What is tried again and what never: the one table, which docs/fleet.md repeats.

The pack's own errors and prompts that are not valid fail in the same way wherever and however
often they run: they go to the dead letters at once, with their message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import FailedError

# The names of the errors that this pack's nodes raise.
PACK_ERRORS = (
    *("InstantIDError", "MissingFileError", "MissingDependencyError", "WrongFileError"),
    *("WrongModelError", "WrongInputError", "NoFaceError"),
)


@dataclass(frozen=True)
class Rule:
    """How one kind of failure is met.

    retries: how often more a job is tried after it, None for as long as it takes. new_attempt:
    whether the next try gets a prompt_id of its own (the server has an answer under the old one).
    """

    kind: str
    what: str
    retries: int | None
    new_attempt: bool
    then: str


RULES = {
    rule.kind: rule
    for rule in (
        Rule(
            "away",
            "connection refused or lost, websocket lost, no answer in time, HTTP 5xx or 429",
            None,
            False,
            "asked again with growing pauses (1 to 30 s); after `--patience` the rest of the chunk "
            "goes back",
        ),
        Rule(
            "lost",
            "the server no longer knows a prompt it had taken: it was started again",
            3,
            False,
            "posted again; the third time may be the picture's own doing",
        ),
        Rule(
            "memory",
            "out of memory",
            3,
            True,
            "the server is told to unload its models first",
        ),
        Rule("node", "any other exception in a node", 2, True, "tried again after a pause"),
        Rule(
            "gone",
            "a saved picture is no longer on the server",
            2,
            True,
            "the server is told to forget its cache first",
        ),
        Rule("stopped", "somebody pressed the server's stop button", 2, True, "tried again"),
        Rule("slow", "a picture took longer than `--limit`", 1, True, "cancelled on the server"),
        Rule("invalid", "the prompt is not valid (HTTP 400)", 0, True, "dead letter at once"),
        Rule("pack", "an error of this pack's nodes", 0, True, "dead letter at once"),
        Rule("face", "no identity could be made of the photo", 0, True, "dead letter at once"),
        Rule("empty", "the prompt ended well, but without a picture", 0, True, "dead letter"),
        Rule("unexpected", "a mistake in the fleet itself", 0, True, "dead letter"),
    )
}
FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 30.0


def pause(times: int) -> float:
    """Return the seconds to wait after so many failures: 1, 2, 4, ... at most 30."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, times - 1))


def failure_of(error: dict[str, Any]) -> FailedError:
    """Return what an `execution_error` of ComfyUI means.

    error: exception_type, exception_message, node_id, node_type, as ComfyUI tells them.
    """
    name = str(error.get("exception_type", "")).rsplit(".", 1)[-1]
    where = f"{error.get('node_type')} ({error.get('node_id')})"
    text = f"{where}: {str(error.get('exception_message', '')).strip()}"
    if "OutOfMemory" in name:
        return FailedError("memory", text)
    if name in PACK_ERRORS:
        return FailedError("pack", text)
    return FailedError("node", f"{text} [{name}]")
