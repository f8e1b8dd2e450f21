"""Nodes about where the face is: five keypoints per face."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.crops import checked_crop, on_crop
from ..instantid_core.faces import THRESHOLD, as_analyzer
from ..instantid_core.faces.finding import find_keypoints
from ..instantid_core.faces.pick import ALL_FACES, make_pick
from ..instantid_core.faces.references import LookSettings
from ..instantid_core.fitting import Fit, place, standard_face, transform
from ..instantid_core.head import Turning
from ..instantid_core.host.faces import watched
from ..instantid_core.host.hints import drawn
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.keypoints import DRAWINGS, checked
from . import search_words, sockets
from .face_inputs import (
    LIKE_TOOLTIP,
    landmarks_input,
    look_inputs,
    missing_frame_input,
    pick_inputs,
)
from .showing import shown, shown_keypoints
from .sliders import turning_inputs

FIT_TOOLTIP = (
    "How keypoints of another aspect ratio get onto the picture. crop: fill the picture and cut "
    "the sides, but keep the face whole. pad: show all of the source, with room at its sides."
)


def fit_input(*, optional: bool = False, advanced: bool | None = None) -> io.Combo.Input:
    """The one `fit` input, the same on every node that has it."""
    return io.Combo.Input(
        "fit",
        options=[mode.value for mode in Fit],
        default=Fit.CROP.value,
        optional=optional,
        advanced=advanced,
        tooltip=FIT_TOOLTIP,
    )


def size_inputs() -> list[io.Int.Input]:
    """Width and height of the picture to be made."""
    return [
        io.Int.Input(
            side,
            default=1024,
            min=64,
            max=16384,
            step=8,
            tooltip=f"The {side} of the picture to be made, in pixels.",
        )
        for side in ("width", "height")
    ]


class FaceKeypoints(io.ComfyNode):
    """Find the five points of a face in every frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_FaceKeypoints",
            display_name="Face Keypoints",
            category="InstantID",
            description="Find where the face is, and how it is turned: five points of the face in "
            "every picture of a batch. Apply IdentityNet puts the face there.",
            search_aliases=search_words.of("IID_FaceKeypoints"),
            inputs=[
                sockets.FaceAnalysis.Input("face_analyzer", tooltip="From Load Face Analyzer."),
                io.Image.Input("image", tooltip="One picture, or the frames of a video."),
                *pick_inputs(ALL_FACES),
                missing_frame_input(),
                *look_inputs(),
                sockets.FaceEmbeds.Input("like", optional=True, tooltip=LIKE_TOOLTIP),
                landmarks_input(),
            ],
            outputs=[
                sockets.FaceKeypoints.Output(display_name="keypoints"),
                io.Image.Output(
                    display_name="faces",
                    tooltip="The pictures with every face numbered, the chosen one in green.",
                ),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        image: torch.Tensor,
        pick: str,
        index: int,
        on_missing: str,
        threshold: float = THRESHOLD,
        thorough: bool = False,
        like: Any = None,
        landmarks: bool = False,
    ) -> io.NodeOutput:
        keypoints, preview = find_keypoints(
            as_analyzer(face_analyzer),
            image,
            make_pick(pick, index, like),
            on_missing=on_missing,
            settings=LookSettings(threshold, thorough, landmarks),
            watched=watched,
        )
        return io.NodeOutput(keypoints, preview, ui=shown(cls, preview))


class DrawKeypoints(io.ComfyNode):
    """Draw keypoints as IdentityNet wants to see them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_DrawKeypoints",
            display_name="Draw Keypoints",
            category="InstantID",
            description="Draw face keypoints as IdentityNet sees them, for a look or for other "
            "nodes. Apply IdentityNet draws them itself.",
            search_aliases=search_words.of("IID_DrawKeypoints"),
            inputs=[
                sockets.FaceKeypoints.Input(
                    "keypoints", tooltip="The faces, from Face Keypoints or Transform Keypoints."
                ),
                *size_inputs(),
                fit_input(),
                io.Combo.Input(
                    "family",
                    options=list(DRAWINGS),
                    default=next(iter(DRAWINGS)),
                    optional=True,
                    advanced=True,
                    tooltip="Whose IdentityNet it is for. SDXL: five bright points. SD1.5: the "
                    "five points dimmed, and the 106 landmarks that Face Keypoints finds with "
                    "`landmarks`.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="One picture for each frame; black without a face.")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls, keypoints: Any, width: int, height: int, fit: str, family: str = "SDXL"
    ) -> io.NodeOutput:
        pictures = drawn(keypoints, width, height, Fit(fit), family)
        return io.NodeOutput(pictures, ui=shown(cls, pictures))


class TransformKeypoints(io.ComfyNode):
    """Mirror, move, scale and rotate keypoints."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_TransformKeypoints",
            display_name="Transform Keypoints",
            category="InstantID",
            description="Mirror faces, turn the heads, scale, rotate and move them within their "
            "picture, in this order. Without keypoints it starts from a standard frontal face, so "
            "that no pose photo is needed.",
            search_aliases=search_words.of("IID_TransformKeypoints"),
            inputs=[
                io.Boolean.Input(
                    "mirror",
                    default=False,
                    tooltip="Swap left and right of the whole picture.",
                ),
                io.Float.Input(
                    "move_x",
                    default=0.0,
                    min=-2.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Move to the right, in widths of the picture; negative to the left.",
                ),
                io.Float.Input(
                    "move_y",
                    default=0.0,
                    min=-2.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Move down, in heights of the picture; negative up.",
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.05,
                    max=10.0,
                    step=0.01,
                    tooltip="Make each face larger or smaller about its own middle: 1 keeps it, "
                    "2 doubles it.",
                ),
                io.Float.Input(
                    "rotate",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=1.0,
                    tooltip="Turn each face about its own middle, in degrees, clockwise.",
                ),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    optional=True,
                    tooltip="The faces. Left out: a standard face that looks into the camera.",
                ),
                sockets.FaceCrop.Input(
                    "face_crop",
                    optional=True,
                    advanced=True,
                    tooltip="Bring keypoints of the whole picture onto this crop of it, from Crop "
                    "Face, after all else.",
                ),
                *turning_inputs(),
            ],
            outputs=[sockets.FaceKeypoints.Output(display_name="keypoints")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        mirror: bool,
        move_x: float,
        move_y: float,
        scale: float,
        rotate: float,
        keypoints: Any = None,
        face_crop: Any = None,
        yaw: float = 0.0,
        pitch: float = 0.0,
        yaw_change: float = 0.0,
        pitch_change: float = 0.0,
        frames: int = 1,
    ) -> io.NodeOutput:
        changed = transform(
            standard_face() if keypoints is None else checked(keypoints),
            mirror=mirror,
            move_x=move_x,
            move_y=move_y,
            scale=scale,
            rotate=rotate,
            turning=Turning(yaw, pitch, yaw_change, pitch_change, frames),
        )
        if face_crop is not None:
            changed = on_crop(changed, checked_crop(face_crop))
        return io.NodeOutput(changed, ui=shown_keypoints(cls, changed))


class PlaceKeypoints(io.ComfyNode):
    """Put the face at a chosen place of the picture, at a chosen size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_PlaceKeypoints",
            display_name="Place Keypoints",
            category="InstantID",
            description="Put the face at a chosen place of the picture, at a chosen size. Without "
            "keypoints it places a standard frontal face. Several faces are placed together. Heads "
            "are turned before.",
            search_aliases=search_words.of("IID_PlaceKeypoints"),
            inputs=[
                *size_inputs(),
                io.Float.Input(
                    "x",
                    default=0.5,
                    min=-1.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Where the middle of the face lies across: 0 is the left side of the "
                    "picture, 1 the right.",
                ),
                io.Float.Input(
                    "y",
                    default=0.42,
                    min=-1.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Where the middle of the face lies down: 0 is the top of the picture, "
                    "1 the bottom.",
                ),
                io.Float.Input(
                    "size",
                    default=0.44,
                    min=0.02,
                    max=4.0,
                    step=0.01,
                    tooltip="Height of the face, forehead to chin, in heights of the picture.",
                ),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    optional=True,
                    tooltip="The faces. Left out: a standard face that looks into the camera.",
                ),
                *turning_inputs(),
            ],
            outputs=[sockets.FaceKeypoints.Output(display_name="keypoints")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        width: int,
        height: int,
        x: float,
        y: float,
        size: float,
        keypoints: Any = None,
        yaw: float = 0.0,
        pitch: float = 0.0,
        yaw_change: float = 0.0,
        pitch_change: float = 0.0,
        frames: int = 1,
    ) -> io.NodeOutput:
        source = standard_face() if keypoints is None else checked(keypoints)
        turning = Turning(yaw, pitch, yaw_change, pitch_change, frames)
        placed = place(source, width, height, x, y, size, turning)
        return io.NodeOutput(placed, ui=shown_keypoints(cls, placed))


NODES: list[type[io.ComfyNode]] = [FaceKeypoints, DrawKeypoints, TransformKeypoints, PlaceKeypoints]
