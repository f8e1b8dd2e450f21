"""Nodes that cut a face out of a picture and paste it back."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.crops import EVERY_FACE, GRIDS, CropSettings, checked_crop, crop_faces
from ..instantid_core.fitting import LARGEST_SIDE
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.keypoints import checked
from ..instantid_core.pasting import paste
from ..instantid_core.people import ORDERS
from ..instantid_core.regions import AROUND_HEAD, Outline, Shape
from . import search_words, sockets
from .regions import outline_inputs
from .showing import shown


class CropFace(io.ComfyNode):
    """A face to a picture of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_CropFace",
            display_name="Crop Face",
            category="InstantID",
            description="Cut a face out of a picture, upright and large enough for InstantID, to "
            "paint it anew and paste it back with Paste Face. One crop for each frame.",
            search_aliases=search_words.of("IID_CropFace"),
            inputs=[
                io.Image.Input("image", tooltip="The whole picture, or the frames of a video."),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    tooltip="The faces of this very picture, from Face Keypoints; with pick = all "
                    "to choose among them here.",
                ),
                io.Combo.Input(
                    "order",
                    options=list(ORDERS),
                    default=ORDERS[0],
                    tooltip="The order in which the faces of the keypoints are numbered.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=EVERY_FACE,
                    max=255,
                    tooltip="The number of the face in that order, counted from 0. -1: every face, "
                    "each in a crop of its own.",
                ),
                io.Float.Input(
                    "context",
                    default=2.0,
                    min=1.0,
                    max=8.0,
                    step=0.05,
                    tooltip="How much of the surroundings is on the crop: its short side in sizes "
                    "of the face. 2 shows the whole head.",
                ),
                io.Int.Input(
                    "long_side",
                    default=1024,
                    min=0,
                    max=LARGEST_SIDE,
                    step=8,
                    tooltip="The long side of the crop, in pixels; 1024 suits SDXL. 0: the pixels "
                    "of the picture as they are.",
                ),
                io.Float.Input(
                    "aspect",
                    default=1.0,
                    min=0.25,
                    max=4.0,
                    step=0.01,
                    tooltip="Width of the crop by its height: 1 is a square, 0.75 upright.",
                ),
                io.Combo.Input(
                    "multiple_of",
                    options=list(GRIDS),
                    default=GRIDS[0],
                    advanced=True,
                    tooltip="Both sides of the crop are multiples of this, in pixels. SDXL takes "
                    "8; some nodes want 64.",
                ),
                io.Boolean.Input(
                    "upright",
                    default=True,
                    tooltip="Turn a tilted head upright on the crop. Paste Face turns it back.",
                ),
                *outline_inputs(default=AROUND_HEAD),
            ],
            outputs=[
                io.Image.Output(display_name="crop", tooltip="The crops, to be painted anew."),
                io.Mask.Output(
                    display_name="mask", tooltip="The head or the face on each crop, to inpaint."
                ),
                sockets.FaceKeypoints.Output(
                    display_name="keypoints", tooltip="The cropped face, on its crop."
                ),
                sockets.FaceCrop.Output(
                    display_name="face_crop",
                    tooltip="Where the crops came from, for Paste Face.",
                ),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        image: torch.Tensor,
        keypoints: Any,
        order: str,
        index: int,
        context: float,
        long_side: int,
        aspect: float,
        multiple_of: str,
        upright: bool,
        shape: str,
        padding: float,
        feather: float,
    ) -> io.NodeOutput:
        settings = CropSettings.of(context, long_side, aspect, multiple_of, upright)
        outline = Outline(Shape(shape), padding, feather)
        made = crop_faces(image, checked(keypoints), order, index, settings, outline)
        picture = shown(cls, made.images)
        return io.NodeOutput(made.images, made.masks, made.keypoints, made.crop, ui=picture)


class PasteFace(io.ComfyNode):
    """A crop back into its picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_PasteFace",
            display_name="Paste Face",
            category="InstantID",
            description="Put a crop of Crop Face back where it came from, with a soft seam. "
            "Nothing outside of the head or face changes. Chain several for several faces.",
            search_aliases=search_words.of("IID_PasteFace"),
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The whole picture that went into Crop Face, or what another Paste "
                    "Face made of it.",
                ),
                io.Image.Input(
                    "crop",
                    tooltip="The crop, painted anew. Of any size, in the crop's shape. Several for "
                    "one give several pictures.",
                ),
                sockets.FaceCrop.Input(
                    "face_crop", tooltip="Where the crop came from, from Crop Face."
                ),
                *outline_inputs(default=AROUND_HEAD),
                io.Float.Input(
                    "colour_match",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the difference in colour along the seam is taken from the "
                    "crop: 0 is nothing, 1 all of it.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="The whole picture with the crop in it.")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        image: torch.Tensor,
        crop: torch.Tensor,
        face_crop: Any,
        shape: str,
        padding: float,
        feather: float,
        colour_match: float,
    ) -> io.NodeOutput:
        outline = Outline(Shape(shape), padding, feather)
        pictures = paste(image, crop, checked_crop(face_crop), outline, colour_match)
        return io.NodeOutput(pictures, ui=shown(cls, pictures))


NODES: list[type[io.ComfyNode]] = [CropFace, PasteFace]
