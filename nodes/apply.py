"""Nodes that put an identity onto what the user has."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.fitting import Fit
from ..instantid_core.host import apply_adapter, apply_identitynet
from ..instantid_core.host.hints import checked_drawing
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.host.people import checked_opening, region_for
from ..instantid_core.presets import AS_SET, NAMES, Preset, preset_or
from ..instantid_core.regions import Outline, Shape
from ..instantid_core.weighting import Adding
from . import search_words, sockets
from .keypoints import fit_input
from .regions import outline_inputs
from .sliders import adding_input, percent_input, strength_input, weight_input, window_inputs
from .weighting import frame_weights_input, weighting_inputs

MODEL_TOOLTIP = "An SDXL model, or SD1.5 with the files for it. It is not changed."


class ApplyAdapter(io.ComfyNode):
    """Put an identity onto a MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_ApplyAdapter",
            display_name="Apply InstantID Adapter",
            category="InstantID",
            description="Make an SDXL model draw the person: adds the identity to all 70 "
            "cross-attention layers, with the files for SD1.5 to its 16. Use it together with "
            "Apply IdentityNet.",
            search_aliases=search_words.of("IID_ApplyAdapter"),
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TOOLTIP),
                _who_input(),
                weight_input(
                    "How strongly the face is drawn: 0 is off, 0.8 is the published "
                    "default. Less follows the prompt better, more than 1 burns the picture.",
                ),
                percent_input(
                    "start_percent",
                    0.0,
                    "When the face begins to work: a share of the sampling, from 0 "
                    "(the first step) to 1.",
                ),
                percent_input(
                    "end_percent",
                    1.0,
                    "When the face stops working: a share of the sampling, up to 1 "
                    "(the last step).",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the face may work: 1 is fully, 0 not at all. Of any size; "
                    "several frames are used one for each picture of the batch.",
                ),
                *weighting_inputs("weight"),
                fit_input(optional=True),
                adding_input(),
                frame_weights_input("weight"),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        model: Any,
        face_embeds: Any,
        weight: float,
        start_percent: float,
        end_percent: float,
        mask: torch.Tensor | None = None,
        layer_weights: Any = None,
        weight_curve: Any = None,
        fit: str = Fit.CROP.value,
        adding: str = Adding.PLAIN.value,
        frame_weights: Any = None,
    ) -> io.NodeOutput:
        patched = apply_adapter(
            model,
            face_embeds,
            weight=weight,
            start_percent=start_percent,
            end_percent=end_percent,
            mask=mask,
            layers=layer_weights,
            curve=weight_curve,
            fit=Fit(fit),
            adding=Adding(adding),
            frame_weights=frame_weights,
        )
        return io.NodeOutput(patched)


class ApplyIdentityNet(io.ComfyNode):
    """Put IdentityNet onto conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_ApplyIdentityNet",
            display_name="Apply IdentityNet",
            category="InstantID",
            description="Let IdentityNet place the face: it sees the keypoints and the person, "
            "while other ControlNets keep their prompt. Use it together with Apply InstantID "
            "Adapter; ComfyUI's own Apply ControlNet gives noise with IdentityNet.",
            search_aliases=search_words.of("IID_ApplyIdentityNet"),
            inputs=[
                *_conditioning_inputs(),
                _who_input(),
                io.MultiType.Input(
                    "keypoints",
                    types=[sockets.FaceKeypoints, io.Image],
                    optional=True,
                    tooltip="Where the face shall be: keypoints, which are drawn for the "
                    "picture's size, or a picture of drawn keypoints. A list of people brings "
                    "its own.",
                ),
                strength_input(
                    "How strongly IdentityNet works: 0 is off, 0.8 is the published "
                    "default. Less leaves place and expression freer.",
                ),
                *window_inputs("IdentityNet"),
                fit_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where IdentityNet may work: 1 is fully, 0 not at all. Of any size; "
                    "several frames are used one for each picture of the batch.",
                ),
                *weighting_inputs("strength"),
                _one_by_one_input(),
                io.Conditioning.Input(
                    "middle",
                    optional=True,
                    tooltip="An empty prompt, for Dual CFG Guider: it gets the person as positive "
                    "does, and text and person get a scale each.",
                ),
                io.Int.Input(
                    "every",
                    default=1,
                    min=1,
                    max=10,
                    optional=True,
                    advanced=True,
                    tooltip="Evaluate IdentityNet at every how many steps: 1 is each, 2 every "
                    "second, which is faster and a little less exact. Between them its last result "
                    "is used again.",
                ),
                frame_weights_input("strength"),
            ],
            outputs=[
                *_conditioning_outputs(),
                io.Conditioning.Output(
                    display_name="middle",
                    tooltip="middle with the person; without middle, positive again.",
                ),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        positive: Any,
        negative: Any,
        control_net: Any,
        face_embeds: Any,
        strength: float,
        start_percent: float,
        end_percent: float,
        fit: str,
        keypoints: Any = None,
        mask: torch.Tensor | None = None,
        layer_weights: Any = None,
        weight_curve: Any = None,
        one_by_one: bool = False,
        middle: Any = None,
        every: int = 1,
        frame_weights: Any = None,
    ) -> io.NodeOutput:
        conditioned = apply_identitynet(
            positive,
            negative,
            control_net,
            face_embeds,
            checked_drawing(keypoints),
            strength=strength,
            start_percent=start_percent,
            end_percent=end_percent,
            mask=mask,
            fit=Fit(fit),
            layers=layer_weights,
            curve=weight_curve,
            one_by_one=one_by_one,
            middle=middle,
            every=every,
            frame_weights=frame_weights,
        )
        third = conditioned[0] if middle is None else conditioned[2]
        return io.NodeOutput(*conditioned[:2], third)


class Apply(io.ComfyNode):
    """Adapter and IdentityNet in one node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_Apply",
            display_name="Apply InstantID",
            category="InstantID",
            description="All of InstantID in one node, as in the official demos: the adapter on "
            "the model, IdentityNet on the conditioning, both within the face.",
            search_aliases=search_words.of("IID_Apply"),
            inputs=[
                io.Model.Input("model", tooltip=MODEL_TOOLTIP),
                *_conditioning_inputs(),
                _who_input(),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    optional=True,
                    tooltip="Where the face shall be, from Face Keypoints or Place Keypoints. A "
                    "list of people brings its own.",
                ),
                weight_input(
                    "How strongly the adapter draws the person: 0 is off, 0.8 is the "
                    "published default. More than 1 burns the picture.",
                ),
                strength_input(
                    "How strongly IdentityNet holds place and likeness: 0 is off, 0.8 is "
                    "the published default.",
                ),
                *window_inputs("InstantID", advanced=True),
                fit_input(advanced=True),
                io.Boolean.Input(
                    "face_region",
                    default=True,
                    tooltip="On: InstantID works within the box of the face only, as in the "
                    "official demos. Off: in the whole picture. A list of people has its own "
                    "regions.",
                ),
                *outline_inputs(prefix="region_", optional=True, advanced=True),
                *weighting_inputs("weight", advanced=True),
                *weighting_inputs("strength", prefix="identitynet_", advanced=True),
                _one_by_one_input(),
                adding_input(),
                sockets.WeightCurve.Input(
                    "region_curve",
                    optional=True,
                    advanced=True,
                    tooltip="Factors on padding and feather of the face regions over the sampling, "
                    "from Weight Curve for InstantID: the region opens or closes while sampling.",
                ),
                _preset_input(),
                frame_weights_input("weight and on the strength"),
            ],
            outputs=[io.Model.Output(), *_conditioning_outputs()],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        control_net: Any,
        face_embeds: Any,
        weight: float,
        strength: float,
        start_percent: float,
        end_percent: float,
        fit: str,
        face_region: bool,
        keypoints: Any = None,
        region_shape: str = Shape.BOX.value,
        region_padding: float = 0.0,
        region_feather: float = 0.0,
        layer_weights: Any = None,
        weight_curve: Any = None,
        identitynet_layer_weights: Any = None,
        identitynet_weight_curve: Any = None,
        one_by_one: bool = False,
        adding: str = Adding.PLAIN.value,
        region_curve: Any = None,
        preset: str = AS_SET,
        frame_weights: Any = None,
    ) -> io.NodeOutput:
        outline = Outline(Shape(region_shape), region_padding, region_feather)
        opening = checked_opening(region_curve, face_embeds, outline, face_region=face_region)
        region = None
        if face_region:
            region = region_for(face_embeds, keypoints, Fit(fit), outline, opening)
        shared: dict[str, Any] = {"mask": region, "fit": Fit(fit), "region_curve": opening}
        shared |= {"start_percent": start_percent, "end_percent": end_percent}
        shared["frame_weights"] = frame_weights
        values = preset_or(preset, Preset(weight, strength, Adding(adding)))
        on_model: dict[str, Any] = {"weight": values.weight, "adding": values.adding}
        on_model |= {"layers": layer_weights, "curve": weight_curve}
        on_conditioning = {
            "strength": values.strength,
            "layers": identitynet_layer_weights,
            "curve": identitynet_weight_curve,
            "one_by_one": one_by_one,
        }
        patched = apply_adapter(model, face_embeds, **on_model, **shared)
        conditioned = apply_identitynet(
            positive, negative, control_net, face_embeds, keypoints, **on_conditioning, **shared
        )
        return io.NodeOutput(patched, *conditioned)


def _who_input() -> io.Input:
    return io.MultiType.Input(
        "face_embeds",
        display_name="identity",
        types=[sockets.FaceEmbeds, sockets.People],
        tooltip="The person, from Encode Face, or a list of people, from Person.",
    )


def _preset_input() -> io.Input:
    return io.Combo.Input(
        "preset",
        options=list(NAMES),
        default=AS_SET,
        optional=True,
        tooltip="A word for weight and strength, which it replaces, with plain adding. balanced: "
        "0.8 and 0.8, as published. more alike: 1 and 1. more prompt: 0.5 and 0.6. few steps: 0.6 "
        "and 0.8, for models that need 4 to 8 steps.",
    )


def _one_by_one_input() -> io.Input:
    return io.Boolean.Input(
        "one_by_one",
        default=False,
        optional=True,
        advanced=True,
        tooltip="Only for a list of people. Off: IdentityNet runs once for all of them. On: once "
        "for each, which is slower and keeps them apart inside it as well.",
    )


def _conditioning_inputs() -> list[Any]:
    """Positive, negative and the ControlNet."""
    return [
        io.Conditioning.Input("positive", tooltip="What the picture shall show."),
        io.Conditioning.Input("negative", tooltip="What it shall not show."),
        io.ControlNet.Input(
            "control_net",
            tooltip="IdentityNet, from Load ControlNet Model: InstantID's own "
            "diffusion_pytorch_model.safetensors (2.5 GB); for SD1.5 controlnet.ckpt.",
        ),
    ]


def _conditioning_outputs() -> list[Any]:
    return [
        io.Conditioning.Output(display_name="positive"),
        io.Conditioning.Output(display_name="negative"),
    ]


NODES: list[type[io.ComfyNode]] = [ApplyAdapter, ApplyIdentityNet, Apply]
