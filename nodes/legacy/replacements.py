"""Which new node can stand for an old one: ComfyUI offers the exchange to people who migrate.

Only old nodes with one new counterpart are listed; of the others two or three new nodes do the
work. Old workflows run without any of this.
"""

from __future__ import annotations

import sys
from typing import Any

from comfy_api.latest import ComfyAPI, io

from ...instantid_core.faces import AUTO, DEFAULT_PACK
from ...instantid_core.fitting import Fit

SAME_WINDOW: list[dict[str, Any]] = [
    {"new_id": "start_percent", "old_id": "start_at"},
    {"new_id": "end_percent", "old_id": "end_at"},
]


def replacements() -> list[io.NodeReplace]:
    """Return the exchanges on offer."""
    return [
        io.NodeReplace(
            new_node_id="IID_LoadAdapter",
            old_node_id="InstantIDModelLoader",
            old_widget_ids=["instantid_file"],
            input_mapping=[{"new_id": "file", "old_id": "instantid_file"}],
            output_mapping=[{"old_idx": 0, "new_idx": 0}],
        ),
        io.NodeReplace(
            new_node_id="IID_LoadFaceAnalyzer",
            old_node_id="InstantIDFaceAnalysis",
            old_widget_ids=["provider"],
            input_mapping=[
                {"new_id": "pack", "set_value": DEFAULT_PACK},
                {"new_id": "provider", "set_value": AUTO},
            ],
            output_mapping=[{"old_idx": 0, "new_idx": 0}],
        ),
        io.NodeReplace(
            new_node_id="IID_ApplyIdentityNet",
            old_node_id="ApplyInstantIDControlNet",
            old_widget_ids=["strength", "start_at", "end_at"],
            input_mapping=[
                *_kept("positive", "negative", "control_net", "face_embeds", "strength", "mask"),
                {"new_id": "keypoints", "old_id": "image_kps"},
                *SAME_WINDOW,
                {"new_id": "fit", "set_value": Fit.CROP.value},
            ],
            output_mapping=[{"old_idx": index, "new_idx": index} for index in range(2)],
        ),
    ]


def _kept(*names: str) -> list[dict[str, Any]]:
    return [{"new_id": name, "old_id": name} for name in names]


async def register_replacements() -> None:
    """Tell ComfyUI's server of the exchanges; without a running server there is nobody to tell."""
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    if getattr(server, "instance", None) is None:
        return
    for replacement in replacements():
        await ComfyAPI().node_replacement.register(replacement)
