"""The one named logger, and the ear of whoever wants to show its words."""

from __future__ import annotations

import functools
import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

log = logging.getLogger("faithful_instantid")


@dataclass
class Heard:
    """What was said while somebody listened. found: what is as it should be; problems: the rest."""

    found: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


_heard: ContextVar[Heard | None] = ContextVar("faithful_instantid_heard", default=None)


@contextmanager
def listening() -> Generator[Heard]:
    """Hear what this thread says within the block."""
    heard = Heard()
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


@functools.cache
def log_once(message: str) -> None:
    """Log a message at level INFO, the first time only: for what would repeat at every step."""
    log.info(message)


def warn(message: str) -> None:
    """Log a warning that must be seen, also while another pack silences the root logger.

    Some samplers raise the root logger's level while they run, to keep ComfyUI quiet.
    """
    log.handle(log.makeRecord(log.name, logging.WARNING, "", 0, message, (), None))
    note_problem(message)


def tell(message: str) -> None:
    """Log at level INFO what was asked for and has no effect."""
    log.info("%s", message)
    note_problem(message)


def note_problem(message: str) -> None:
    """Say to whoever listens, not to the log, what the log has heard of already."""
    heard = _heard.get()
    if heard is not None and message not in heard.problems:
        heard.problems.append(message)


def note(message: str) -> None:
    """Say to whoever listens, not to the log, what was found."""
    heard = _heard.get()
    if heard is not None:
        heard.found.append(message)
