"""Nodes about keypoints that are made: by hand in an editor, or from the pose of a body."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..instantid_core.editing import edited, for_editor
from ..instantid_core.faces.openpose import ALL_PEOPLE, THRESHOLD, keypoints_of_pose
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.people import ORDERS
from . import search_words, sockets
from .face_inputs import missing_frame_input
from .keypoints import size_inputs
from .showing import shown_in_editor, shown_keypoints

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


class KeypointsFromPose(io.ComfyNode):
    """Take the five points of faces from the pose of bodies."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_KeypointsFromPose",
            display_name="Face Keypoints from Pose",
            category="InstantID",
            description="Take where the faces are from a pose that OpenPose, DWPose or SDPose "
            "found. Works where the face detector fails: a turned head, a tiny or covered face, a "
            "drawing.",
            search_aliases=search_words.of("IID_KeypointsFromPose"),
            inputs=[
                sockets.PoseKeypoint.Input(
                    "pose", tooltip="POSE_KEYPOINT of a pose node, one frame or many."
                ),
                io.Combo.Input(
                    "pick",
                    options=[ALL_PEOPLE, *ORDERS],
                    default=ALL_PEOPLE,
                    tooltip="Which faces to take. all: of everybody, from left to right. The "
                    "others: the order in which `index` counts.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=255,
                    tooltip="The number of the face to take, counted from 0 in the order of "
                    "`pick`. With all it does nothing.",
                ),
                missing_frame_input(),
                io.Float.Input(
                    "threshold",
                    default=THRESHOLD,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Least score of a point, 0 to 1. Lower takes points that the pose node "
                    "is less sure of.",
                ),
            ],
            outputs=[sockets.FaceKeypoints.Output(display_name="keypoints")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls, pose: Any, pick: str, index: int, on_missing: str, threshold: float = THRESHOLD
    ) -> io.NodeOutput:
        keypoints = keypoints_of_pose(
            pose, pick=pick, index=index, on_missing=on_missing, threshold=threshold
        )
        return io.NodeOutput(keypoints, ui=shown_keypoints(cls, keypoints))


NODES: list[type[io.ComfyNode]] = [EditKeypoints, KeypointsFromPose]
