"""Nodes that load model files."""

from __future__ import annotations

from comfy_api.latest import io

from ..instantid_core.host import load_adapter
from . import folders, sockets


class LoadAdapter(io.ComfyNode):
    """Load an InstantID adapter file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LoadAdapter",
            display_name="Load InstantID Adapter",
            category="InstantID/loaders",
            description="Load the InstantID adapter (ip-adapter.bin) from models/instantid.",
            search_aliases=["instantid", "ip-adapter", "face"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=folders.adapter_files(),
                    tooltip="The adapter file in models/instantid: ip-adapter.bin of "
                    "InstantX/InstantID, or a safetensors copy of it. Its weights are used only "
                    "to encode a face and take no memory while sampling.",
                ),
            ],
            outputs=[sockets.Adapter.Output(display_name="adapter")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return folders.adapter_problem(file)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(load_adapter(folders.adapter_path(file)))


NODES: list[type[io.ComfyNode]] = [LoadAdapter]
