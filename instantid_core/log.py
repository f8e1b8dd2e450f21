"""The one named logger."""

import logging

log = logging.getLogger("faithful_instantid")
