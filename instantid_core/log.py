"""The one named logger."""

import functools
import logging

log = logging.getLogger("faithful_instantid")


@functools.cache
def log_once(message: str) -> None:
    """Log a message at level INFO, the first time only: for what would repeat at every step."""
    log.info(message)


def warn(message: str) -> None:
    """Log a warning that must be seen, also while another pack silences the root logger.

    Some samplers raise the root logger's level while they run, to keep ComfyUI quiet.
    """
    log.handle(log.makeRecord(log.name, logging.WARNING, "", 0, message, (), None))
