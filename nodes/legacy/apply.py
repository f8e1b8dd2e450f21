"""The all-in-one apply nodes of the old pack."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...instantid_core.host.legacy.old_pack import AVERAGE, OldSettings, apply_old_pack
from ...instantid_core.host.on_node import told_on_node
from .. import sockets
from . import inputs

Applied = tuple[Any, Any, Any]


def _sockets() -> list[io.Input]:
    return [
        sockets.Adapter.Input("instantid", tooltip="The InstantID adapter."),
        sockets.FaceAnalysis.Input("insightface", tooltip="The face analyzer."),
        io.ControlNet.Input("control_net", tooltip="IdentityNet, from core's Load ControlNet."),
        io.Image.Input("image", tooltip="One photo of the person, or several in a batch."),
        io.Model.Input("model", tooltip="An SDXL model."),
        io.Conditioning.Input("positive", tooltip="What the picture should show."),
        io.Conditioning.Input("negative", tooltip="What it should not show."),
    ]


def _schema(node_id: str, name: str, widgets: list[io.Input]) -> io.Schema:
    return io.Schema(
        node_id=node_id,
        display_name=name,
        category=inputs.CATEGORY,
        description="Kept for workflows of the old InstantID pack and gives what it gave. "
        "For new workflows take Apply InstantID.",
        is_deprecated=True,
        inputs=[
            *_sockets(),
            *widgets,
            inputs.image_kps_input(),
            inputs.mask_input("Where the adapter and the positive prompt act, 0 to 1."),
        ],
        outputs=[
            io.Model.Output(display_name="MODEL", tooltip="The model with the adapter on it."),
            io.Conditioning.Output(display_name="positive", tooltip="Goes to the sampler."),
            io.Conditioning.Output(display_name="negative", tooltip="Goes to the sampler."),
        ],
    )


class _AllInOne(io.ComfyNode):
    """What both all-in-one nodes do."""

    @classmethod
    def apply_instantid(
        cls,
        instantid: Any,
        insightface: Any,
        control_net: Any,
        image: Tensor,
        model: Any,
        positive: Any,
        negative: Any,
        start_at: float,
        end_at: float,
        weight: float = 0.8,
        ip_weight: float | None = None,
        cn_strength: float | None = None,
        noise: float = 0.35,
        image_kps: Tensor | None = None,
        mask: Tensor | None = None,
        combine_embeds: str = AVERAGE,
    ) -> Applied:
        """Return (model, positive, negative); for Python callers, as in the old pack."""
        settings = OldSettings(
            weight=weight if ip_weight is None else ip_weight,
            strength=weight if cn_strength is None else cn_strength,
            start_percent=start_at,
            end_percent=end_at,
            noise=noise,
            combine=combine_embeds,
            mask=mask,
        )
        return apply_old_pack(
            instantid,
            insightface,
            control_net,
            image,
            image_kps,
            model,
            positive,
            negative,
            settings,
        )


class ApplyInstantID(_AllInOne):
    """Adapter and IdentityNet with one weight, and with the noise the old node did not show."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        widgets = [inputs.WEIGHT.input(), inputs.START.input(), inputs.END.input()]
        return _schema("ApplyInstantID", "Apply InstantID (old)", widgets)

    @classmethod
    def validate_inputs(
        cls,
        weight: float | None = None,
        start_at: float | None = None,
        end_at: float | None = None,
        image_features: object = inputs.ABSENT,
        attn_mask: object = inputs.ABSENT,
    ) -> bool | str:
        """Take numbers out of range (they are clamped); explain graphs of the first weeks."""
        return inputs.first_weeks(image_features, attn_mask)

    @classmethod
    @told_on_node
    def execute(
        cls,
        instantid: Any,
        insightface: Any,
        control_net: Any,
        image: Tensor,
        model: Any,
        positive: Any,
        negative: Any,
        weight: float,
        start_at: float,
        end_at: float,
        image_kps: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        start_at, end_at = inputs.START.clamped(start_at), inputs.END.clamped(end_at)
        applied = cls.apply_instantid(
            instantid,
            insightface,
            control_net,
            image,
            model,
            positive,
            negative,
            start_at,
            end_at,
            inputs.WEIGHT.clamped(weight),
            image_kps=image_kps,
            mask=mask,
        )
        return io.NodeOutput(*applied)


class ApplyInstantIDAdvanced(_AllInOne):
    """Adapter and IdentityNet with a weight each, visible noise, and a choice of combining."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        sliders = (inputs.IP_WEIGHT, inputs.CN_STRENGTH, inputs.START, inputs.END, inputs.NOISE)
        widgets = [*(slider.input() for slider in sliders), inputs.combine_input()]
        return _schema("ApplyInstantIDAdvanced", "Apply InstantID Advanced (old)", widgets)

    @classmethod
    def validate_inputs(
        cls,
        ip_weight: float | None = None,
        cn_strength: float | None = None,
        start_at: float | None = None,
        end_at: float | None = None,
        noise: float | None = None,
        combine_embeds: str | None = None,
        image_features: object = inputs.ABSENT,
        attn_mask: object = inputs.ABSENT,
    ) -> bool | str:
        """Take values out of range (they are clamped); explain graphs of the first weeks."""
        return inputs.first_weeks(image_features, attn_mask)

    @classmethod
    @told_on_node
    def execute(
        cls,
        instantid: Any,
        insightface: Any,
        control_net: Any,
        image: Tensor,
        model: Any,
        positive: Any,
        negative: Any,
        ip_weight: float,
        cn_strength: float,
        start_at: float,
        end_at: float,
        noise: float,
        combine_embeds: str,
        image_kps: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        applied = cls.apply_instantid(
            instantid,
            insightface,
            control_net,
            image,
            model,
            positive,
            negative,
            inputs.START.clamped(start_at),
            inputs.END.clamped(end_at),
            ip_weight=inputs.IP_WEIGHT.clamped(ip_weight),
            cn_strength=inputs.CN_STRENGTH.clamped(cn_strength),
            noise=inputs.NOISE.clamped(noise),
            image_kps=image_kps,
            mask=mask,
            combine_embeds=inputs.known_combine(combine_embeds),
        )
        return io.NodeOutput(*applied)
