"""Faithful InstantID: one face photo and a prompt give a portrait of that person, in ComfyUI."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> ComfyExtension:
    """Register the model folders and hand ComfyUI this pack's nodes."""
    try:
        from .nodes import FaithfulInstantID, folders

        folders.register()
        folders.make_adapter_folder()
        return FaithfulInstantID()
    except Exception:
        # ComfyUI logs only one line of what goes wrong here; the traceback is what helps.
        logging.getLogger("faithful_instantid").error(
            "Faithful InstantID could not be loaded:\n%s", traceback.format_exc()
        )
        raise
