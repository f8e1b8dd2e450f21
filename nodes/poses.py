"""Nodes about keypoints that are made: by hand in an editor, or from the pose of a body."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..instantid_core.editing import edited, for_editor
from ..instantid_core.host.on_node import told_on_node
from . import search_words, sockets
from .keypoints import size_inputs
from .showing import shown_in_editor

EDITOR = "IID_EDIT_KEYPOINTS"  # the widget's name in JavaScript


class EditKeypoints(io.ComfyNode):
    """Put faces where they are wanted, by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_EditKeypoints",
            display_name="Edit Keypoints",
            category="InstantID",
            description="Put the face where you want it, as large as you want it, and turn the "
            "head. Begins with the faces that come in, or with a standard face.",
            search_aliases=search_words.of("IID_EditKeypoints"),
            inputs=[
                *size_inputs(),
                io.String.Input(
                    "edit",
                    default="",
                    extra_dict={"widgetType": EDITOR},
                    tooltip="What was edited, as JSON. Empty: the keypoints pass as they come in.",
                ),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    optional=True,
                    tooltip="The faces to begin with. Once something is edited, the edit wins. "
                    "Left out: a standard face that looks into the camera.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="A picture to see behind the faces in the editor. It changes nothing "
                    "else.",
                ),
            ],
            outputs=[sockets.FaceKeypoints.Output(display_name="keypoints")],
            is_output_node=True,
        )

    @classmethod
    @told_on_node
    def execute(
        cls, width: int, height: int, edit: str, keypoints: Any = None, image: Any = None
    ) -> io.NodeOutput:
        made = edited(edit, width, height, keypoints)
        ui = shown_in_editor(cls, made, for_editor(width, height, keypoints), image)
        return io.NodeOutput(made, ui=ui)


NODES: list[type[io.ComfyNode]] = [EditKeypoints]
