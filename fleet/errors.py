"""What can go wrong, told by what follows from it.

FleetError              a person has to do something; the text says what
|- WrongServerError     this server cannot be used as it is (a password, a proxy, no ComfyUI)
ServerAwayError         no answer; the same is tried again, here or elsewhere
FailedError             a prompt ended without a picture; retries.RULES says whether again
GiveBackError           the rest of a chunk is to be done by somebody else, or later
"""

from __future__ import annotations


class FleetError(Exception):
    """Something only a person can put right; the message says what was found and what to do."""


class WrongServerError(FleetError):
    """A server that answers, but will not take prompts: it needs a person."""


class ServerAwayError(Exception):
    """A server does not answer, or with an error of its own (5xx): it may be back soon."""


class FailedError(Exception):
    """A prompt has failed.

    kind: the name of a rule in retries.RULES. message: what the server or the node said. attempt:
    the one it ended at.
    """

    def __init__(self, kind: str, message: str, attempt: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.attempt = attempt


class GiveBackError(Exception):
    """The running chunk cannot be finished here; away tells whether the server is the reason."""

    def __init__(self, reason: str, *, away: bool) -> None:
        super().__init__(reason)
        self.away = away
