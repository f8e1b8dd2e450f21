"""The face analyzer and the keypoint drawing of the old pack."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...instantid_core.faces import AUTO, DEFAULT_PACK, find_pack, open_analyzer
from ...instantid_core.host.legacy.old_pack import draw_found_keypoints
from ...instantid_core.host.on_node import told_on_node
from ...instantid_core.log import warn
from .. import folders, sockets
from . import inputs

# The old names, with this pack's.
PROVIDERS = {"CPU": "CPU", "CUDA": "CUDA", "ROCM": "ROCm", "CoreML": "CoreML"}


class InstantIDFaceAnalysis(io.ComfyNode):
    """antelopev2 on a chosen provider."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="InstantIDFaceAnalysis",
            display_name="InstantID Face Analysis (old)",
            category=inputs.CATEGORY,
            description="Kept for workflows of the old InstantID pack. "
            "For new workflows take Load Face Analyzer.",
            is_deprecated=True,
            inputs=[
                io.Combo.Input(
                    "provider",
                    options=list(PROVIDERS),
                    tooltip="Where faces are found. What is not there falls back to the CPU.",
                )
            ],
            outputs=[
                sockets.FaceAnalysis.Output(display_name="FACEANALYSIS", tooltip="The analyzer.")
            ],
        )

    @classmethod
    def validate_inputs(cls, provider: str | None = None) -> bool | str:
        """Take any provider: an unknown one is replaced with what is there."""
        return True

    @classmethod
    @told_on_node
    def execute(cls, provider: str) -> io.NodeOutput:
        return io.NodeOutput(*cls.load_insight_face(provider))

    @classmethod
    def load_insight_face(cls, provider: str) -> tuple[Any]:
        """Return (analyzer,); for Python callers, as in the old pack."""
        if provider not in tuple(PROVIDERS):
            warn(f"The provider {provider} is unknown; the analyzer takes what is there.")
            provider = AUTO
        pack = find_pack(DEFAULT_PACK, folders.face_pack_folders())
        return (open_analyzer(pack, PROVIDERS.get(provider, AUTO)),)


class FaceKeypointsPreprocessor(io.ComfyNode):
    """Keypoints drawn at the size of the photo they were found in."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="FaceKeypointsPreprocessor",
            display_name="Face Keypoints Preprocessor (old)",
            category=inputs.CATEGORY,
            description="Kept for workflows of the old InstantID pack and gives what it gave: "
            "the largest face of each picture, drawn at the picture's size. For new workflows "
            "take Face Keypoints, which draws for the size that is sampled.",
            is_deprecated=True,
            inputs=[
                sockets.FaceAnalysis.Input("faceanalysis", tooltip="The face analyzer."),
                io.Image.Input("image", tooltip="One picture or more; the largest face counts."),
            ],
            outputs=[io.Image.Output(display_name="IMAGE", tooltip="The drawn keypoints.")],
        )

    @classmethod
    @told_on_node
    def execute(cls, faceanalysis: Any, image: Tensor) -> io.NodeOutput:
        return io.NodeOutput(*cls.preprocess_image(faceanalysis, image))

    @classmethod
    def preprocess_image(cls, faceanalysis: Any, image: Tensor) -> tuple[Tensor]:
        """Return (picture,): black without a face. For Python callers, as in the old pack."""
        return (draw_found_keypoints(faceanalysis, image),)
