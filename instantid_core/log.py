"""The one named logger."""

import functools
import logging

log = logging.getLogger("faithful_instantid")


@functools.cache
def log_once(message: str) -> None:
    """Log a message at level INFO, the first time only: for what would repeat at every step."""
    log.info(message)
