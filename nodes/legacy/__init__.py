"""The seven node ids of the old InstantID pack: its workflows open, queue and predict as before.

They are deprecated and registered only while nobody else holds their ids.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

import nodes as comfyui_nodes

from ...instantid_core.log import log
from .apply import ApplyInstantID, ApplyInstantIDAdvanced
from .faces import FaceKeypointsPreprocessor, InstantIDFaceAnalysis
from .loaders import InstantIDModelLoader
from .replacements import register_replacements
from .separate import ApplyInstantIDControlNet, InstantIDAttentionPatch

__all__ = ["NODES", "free_nodes", "register_replacements"]

NODES: dict[str, type[io.ComfyNode]] = {
    "InstantIDModelLoader": InstantIDModelLoader,
    "InstantIDFaceAnalysis": InstantIDFaceAnalysis,
    "ApplyInstantID": ApplyInstantID,
    "ApplyInstantIDAdvanced": ApplyInstantIDAdvanced,
    "FaceKeypointsPreprocessor": FaceKeypointsPreprocessor,
    "InstantIDAttentionPatch": InstantIDAttentionPatch,
    "ApplyInstantIDControlNet": ApplyInstantIDControlNet,
}


def free_nodes() -> list[type[io.ComfyNode]]:
    """Return the old nodes whose id no other pack has registered; what is left out is logged."""
    taken = [node_id for node_id in NODES if _is_foreign(node_id)]
    if taken:
        log.warning(
            "Another InstantID pack is loaded; its nodes stay as they are: %s.", ", ".join(taken)
        )
    return [node for node_id, node in NODES.items() if node_id not in taken]


def _is_foreign(node_id: str) -> bool:
    # pyright takes ComfyUI's module `nodes` for the folder of this pack.
    known: dict[str, Any] = comfyui_nodes.NODE_CLASS_MAPPINGS  # pyright: ignore[reportAttributeAccessIssue]
    registered = known.get(node_id)
    return registered is not None and registered.__module__ not in _OWN_MODULES


_OWN_MODULES = {node.__module__ for node in NODES.values()}
