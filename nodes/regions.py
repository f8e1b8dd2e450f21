"""The node that makes a mask of faces, and the inputs that say how."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..instantid_core.fitting import Fit
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.keypoints import checked
from ..instantid_core.regions import OFFICIAL, FaceRegion, Outline, Shape
from . import search_words, sockets
from .keypoints import fit_input, size_inputs
from .showing import shown


def outline_inputs(
    *,
    prefix: str = "",
    optional: bool = False,
    advanced: bool | None = None,
    default: Outline = OFFICIAL,
) -> list[io.Input]:
    """How a face becomes a region; the same on every node that has it."""
    return [
        io.Combo.Input(
            f"{prefix}shape",
            options=[shape.value for shape in Shape],
            default=default.shape.value,
            optional=optional,
            advanced=advanced,
            tooltip="box: the box of the face, as in the official demos. ellipse: an ellipse "
            "around the whole head that follows its tilt.",
        ),
        io.Float.Input(
            f"{prefix}padding",
            default=default.padding,
            min=-0.4,
            max=3.0,
            step=0.01,
            optional=optional,
            advanced=advanced,
            tooltip="How much larger the region is on every side, in parts of the face's size: "
            "0.1 is a tenth of it. Negative is smaller.",
        ),
        io.Float.Input(
            f"{prefix}feather",
            default=default.feather,
            min=0.0,
            max=3.0,
            step=0.01,
            optional=optional,
            advanced=advanced,
            tooltip="Width of the soft edge around the region, in parts of the face's size; 0 is "
            "a hard edge.",
        ),
    ]


class FaceRegionMask(io.ComfyNode):
    """Faces to a mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_FaceRegionMask",
            display_name="Face Region Mask",
            category="InstantID",
            description="Make a mask of the faces, for the mask inputs of the Apply nodes or for "
            "inpainting. Apply InstantID makes it itself.",
            search_aliases=search_words.of("IID_FaceRegionMask"),
            inputs=[
                sockets.FaceKeypoints.Input(
                    "keypoints", tooltip="The faces, from Face Keypoints or Transform Keypoints."
                ),
                *size_inputs(),
                fit_input(),
                *outline_inputs(),
            ],
            outputs=[
                io.Mask.Output(tooltip="One mask for each frame; empty without a face."),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        keypoints: Any,
        width: int,
        height: int,
        fit: str,
        shape: str,
        padding: float,
        feather: float,
    ) -> io.NodeOutput:
        outline = Outline(Shape(shape), padding, feather)
        mask = FaceRegion(checked(keypoints), Fit(fit), outline).render(width, height)
        return io.NodeOutput(mask, ui=shown(cls, mask))


NODES: list[type[io.ComfyNode]] = [FaceRegionMask]
