"""The list: which combinations with other packs are tried, and what must hold in each."""

from __future__ import annotations

from neighbours.names import OLD_PACK, PACKS
from neighbours.patches import CONDITIONINGS, PATCHES, VIDEOS
from neighbours.pictures import OTHERS, SAMPLERS, TILES

__all__ = ["COMBINATIONS", "OLD_PACK", "PACKS"]

COMBINATIONS = (*PATCHES, *CONDITIONINGS, *VIDEOS, *SAMPLERS, *TILES, *OTHERS)
