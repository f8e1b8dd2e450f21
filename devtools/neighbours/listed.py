"""The list: which combinations with other packs are tried, and what must hold in each."""

from __future__ import annotations

from neighbours.core import OWN_NODES
from neighbours.names import CORE, OLD_PACK, PACKS
from neighbours.patches import CONDITIONINGS, PATCHES, VIDEOS
from neighbours.pictures import OTHERS, SAMPLERS, TILES

__all__ = ["COMBINATIONS", "CORE", "OLD_PACK", "PACKS"]

COMBINATIONS = (
    *(*OWN_NODES, *PATCHES, *CONDITIONINGS, *VIDEOS),
    *(*SAMPLERS, *TILES, *OTHERS),
)
