"""Nodes that load model files."""

from __future__ import annotations

from comfy_api.latest import io

from ..instantid_core.faces import AUTO, PROVIDERS, open_analyzer
from ..instantid_core.host import load_adapter
from ..instantid_core.host.loading import load_identitynet
from ..instantid_core.host.on_node import told_on_node
from . import folders, search_words, sockets


def _adapter_input() -> io.Combo.Input:
    return io.Combo.Input(
        "file",
        options=folders.adapter_files(),
        default=folders.likely_adapter(),
        tooltip="The adapter file in models/instantid: ip-adapter.bin of InstantX/InstantID, or a "
        "safetensors copy of it. For SD1.5 image_proj.ckpt or ip-state.ckpt, the other one beside "
        "it. Its weights are used only to encode a face and take no memory while sampling.",
    )


def _pack_input() -> io.Combo.Input:
    return io.Combo.Input(
        "pack",
        options=folders.face_packs(),
        tooltip="The folder with scrfd_10g_bnkps.onnx and glintr100.onnx, found in any insightface "
        "folder. InstantID was trained on antelopev2; other packs draw somebody else.",
    )


def _provider_input() -> io.Combo.Input:
    return io.Combo.Input(
        "provider",
        options=[AUTO, *PROVIDERS],
        default=AUTO,
        tooltip="What the face models run on. auto: the best that onnxruntime offers here, else "
        "the CPU, which needs about a second for a new picture.",
    )


class LoadAdapter(io.ComfyNode):
    """Load an InstantID adapter file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LoadAdapter",
            display_name="Load InstantID Adapter",
            category="InstantID/loaders",
            description="Load the InstantID adapter (ip-adapter.bin) from models/instantid.",
            search_aliases=search_words.of("IID_LoadAdapter"),
            inputs=[_adapter_input()],
            outputs=[sockets.Adapter.Output(display_name="adapter")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return folders.adapter_problem(file)

    @classmethod
    @told_on_node
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_adapter(folders.adapter_path(file)))


class LoadFaceAnalyzer(io.ComfyNode):
    """Open a face pack's detector and recogniser."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LoadFaceAnalyzer",
            display_name="Load Face Analyzer",
            category="InstantID/loaders",
            description="Open the two models of antelopev2 that InstantID needs, from "
            "models/insightface/models/antelopev2. For non-commercial research only.",
            search_aliases=search_words.of("IID_LoadFaceAnalyzer"),
            inputs=[_pack_input(), _provider_input()],
            outputs=[sockets.FaceAnalysis.Output(display_name="face_analyzer")],
        )

    @classmethod
    def validate_inputs(cls, pack: str | None = None) -> bool | str:
        return folders.face_pack_problem(pack)

    @classmethod
    @told_on_node
    def execute(cls, pack: str, provider: str) -> io.NodeOutput:
        return io.NodeOutput(open_analyzer(folders.face_pack(pack), provider))


class LoadInstantID(io.ComfyNode):
    """All three parts of InstantID at once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LoadInstantID",
            display_name="Load InstantID",
            category="InstantID/loaders",
            description="Load all of InstantID in one node: the face analyzer, the adapter and "
            "IdentityNet.",
            search_aliases=search_words.of("IID_LoadInstantID"),
            inputs=[
                _pack_input(),
                _adapter_input(),
                io.Combo.Input(
                    "identitynet",
                    options=folders.controlnet_files(),
                    default=folders.likely_identitynet(),
                    tooltip="IdentityNet in models/controlnet: ControlNetModel/"
                    "diffusion_pytorch_model.safetensors (2.5 GB) of InstantX/InstantID; for SD1.5 "
                    "controlnet.ckpt.",
                ),
                _provider_input(),
            ],
            outputs=[
                sockets.FaceAnalysis.Output(display_name="face_analyzer"),
                sockets.Adapter.Output(display_name="adapter"),
                io.ControlNet.Output(display_name="control_net"),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, pack: str | None = None, file: str | None = None, identitynet: str | None = None
    ) -> bool | str:
        problems = (
            folders.face_pack_problem(pack),
            folders.adapter_problem(file),
            folders.controlnet_problem(identitynet),
        )
        return next((problem for problem in problems if problem is not True), True)

    @classmethod
    @told_on_node
    def execute(cls, pack: str, file: str, identitynet: str, provider: str) -> io.NodeOutput:
        folders.warn_of_another_controlnet(identitynet)
        return io.NodeOutput(
            open_analyzer(folders.face_pack(pack), provider),
            load_adapter(folders.adapter_path(file)),
            load_identitynet(folders.controlnet_path(identitynet)),
        )


NODES: list[type[io.ComfyNode]] = [LoadAdapter, LoadFaceAnalyzer, LoadInstantID]
