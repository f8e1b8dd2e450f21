"""Nodes that put an identity onto what the user has."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.host import apply_adapter
from . import sockets


class ApplyAdapter(io.ComfyNode):
    """Put an identity onto a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_ApplyAdapter",
            display_name="Apply InstantID Adapter",
            category="InstantID",
            description="Make an SDXL model draw the person: adds the identity to all 70 "
            "cross-attention layers. Use it together with Apply IdentityNet.",
            search_aliases=["instantid", "face", "identity"],
            inputs=[
                io.Model.Input("model", tooltip="An SDXL model. It is not changed."),
                sockets.FaceEmbeds.Input("identity", tooltip="The person, from Encode Face."),
                io.Float.Input(
                    "weight",
                    default=0.8,
                    min=-1.0,
                    max=5.0,
                    step=0.01,
                    tooltip="How strongly the face is drawn: 0 is off, 0.8 is the published "
                    "default. Less follows the prompt better, more than 1 burns the picture.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="When the face begins to work: a share of the sampling, from 0 "
                    "(the first step) to 1.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="When the face stops working: a share of the sampling, up to 1 "
                    "(the last step).",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the face may work: 1 is fully, 0 not at all. Of any size; "
                    "several frames are used one for each picture of the batch.",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        identity: Any,
        weight: float,
        start_percent: float,
        end_percent: float,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        patched = apply_adapter(
            model,
            identity,
            weight=weight,
            start_percent=start_percent,
            end_percent=end_percent,
            mask=mask,
        )
        return io.NodeOutput(patched)


NODES: list[type[io.ComfyNode]] = [ApplyAdapter]
