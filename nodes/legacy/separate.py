"""Adapter and IdentityNet as separate nodes of the old pack."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...instantid_core.host.legacy.old_pack import apply_old_controlnet, patch_old_attention
from ...instantid_core.host.on_node import told_on_node
from .. import sockets
from . import inputs


class InstantIDAttentionPatch(io.ComfyNode):
    """The adapter alone; also gives the encoded face for the ControlNet node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        sliders = (inputs.ATTENTION_WEIGHT, inputs.START, inputs.END, inputs.NOISE)
        return io.Schema(
            node_id="InstantIDAttentionPatch",
            display_name="InstantID Patch Attention (old)",
            category=inputs.CATEGORY,
            description="Kept for workflows of the old InstantID pack and gives what it gave. "
            "For new workflows take Encode Face and Apply InstantID Adapter.",
            is_deprecated=True,
            inputs=[
                sockets.Adapter.Input("instantid", tooltip="The InstantID adapter."),
                sockets.FaceAnalysis.Input("insightface", tooltip="The face analyzer."),
                io.Image.Input("image", tooltip="One photo of the person, or several in a batch."),
                io.Model.Input("model", tooltip="An SDXL model."),
                *(slider.input() for slider in sliders),
                inputs.mask_input("Where the adapter may act, 0 to 1."),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", tooltip="The model with the adapter on it."),
                sockets.FaceEmbeds.Output(display_name="FACE_EMBEDS", tooltip="The encoded face."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        weight: float | None = None,
        start_at: float | None = None,
        end_at: float | None = None,
        noise: float | None = None,
    ) -> bool | str:
        """Take numbers out of range: they are clamped."""
        return True

    @classmethod
    @told_on_node
    def execute(
        cls,
        instantid: Any,
        insightface: Any,
        image: Tensor,
        model: Any,
        weight: float,
        start_at: float,
        end_at: float,
        noise: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        patched = cls.patch_attention(
            instantid,
            insightface,
            image,
            model,
            inputs.ATTENTION_WEIGHT.clamped(weight),
            inputs.START.clamped(start_at),
            inputs.END.clamped(end_at),
            noise=inputs.NOISE.clamped(noise),
            mask=mask,
        )
        return io.NodeOutput(*patched)

    @classmethod
    def patch_attention(
        cls,
        instantid: Any,
        insightface: Any,
        image: Tensor,
        model: Any,
        weight: float,
        start_at: float,
        end_at: float,
        noise: float = 0.0,
        mask: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Return (model, face embeds); for Python callers, as in the old pack."""
        return patch_old_attention(
            instantid,
            insightface,
            image,
            model,
            weight=weight,
            start_percent=start_at,
            end_percent=end_at,
            noise=noise,
            mask=mask,
        )


class ApplyInstantIDControlNet(io.ComfyNode):
    """IdentityNet alone, with the face tokens as the context of every ControlNet of the chain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        sliders = (inputs.STRENGTH, inputs.START, inputs.END)
        return io.Schema(
            node_id="ApplyInstantIDControlNet",
            display_name="InstantID Apply ControlNet (old)",
            category=inputs.CATEGORY,
            description="Kept for workflows of the old InstantID pack and gives what it gave. "
            "For new workflows take Apply IdentityNet.",
            is_deprecated=True,
            inputs=[
                sockets.FaceEmbeds.Input("face_embeds", tooltip="The encoded face."),
                io.ControlNet.Input("control_net", tooltip="IdentityNet."),
                io.Image.Input("image_kps", tooltip="The drawn keypoints, used as they are."),
                io.Conditioning.Input("positive", tooltip="What the picture should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                *(slider.input() for slider in sliders),
                inputs.mask_input("Where the positive prompt acts, 0 to 1."),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="Goes to the sampler."),
                io.Conditioning.Output(display_name="negative", tooltip="Goes to the sampler."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        strength: float | None = None,
        start_at: float | None = None,
        end_at: float | None = None,
    ) -> bool | str:
        """Take numbers out of range: they are clamped."""
        return True

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_embeds: Any,
        control_net: Any,
        image_kps: Tensor,
        positive: Any,
        negative: Any,
        strength: float,
        start_at: float,
        end_at: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        applied = cls.apply_controlnet(
            face_embeds,
            control_net,
            image_kps,
            positive,
            negative,
            inputs.STRENGTH.clamped(strength),
            inputs.START.clamped(start_at),
            inputs.END.clamped(end_at),
            mask,
        )
        return io.NodeOutput(*applied)

    @classmethod
    def apply_controlnet(
        cls,
        face_embeds: Any,
        control_net: Any,
        image_kps: Tensor,
        positive: Any,
        negative: Any,
        strength: float,
        start_at: float,
        end_at: float,
        mask: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Return (positive, negative); for Python callers, as in the old pack."""
        return apply_old_controlnet(
            face_embeds,
            control_net,
            image_kps,
            positive,
            negative,
            strength=strength,
            start_percent=start_at,
            end_percent=end_at,
            mask=mask,
        )
