"""The adapter loader of the old pack."""

from __future__ import annotations

from comfy_api.latest import io

from ...instantid_core.host import load_adapter
from ...instantid_core.host.loading import Adapter
from ...instantid_core.host.on_node import told_on_node
from .. import folders, sockets
from . import inputs


class InstantIDModelLoader(io.ComfyNode):
    """An adapter file of models/instantid."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="InstantIDModelLoader",
            display_name="Load InstantID Model (old)",
            category=inputs.CATEGORY,
            description="Kept for workflows of the old InstantID pack. "
            "For new workflows take Load InstantID Adapter.",
            is_deprecated=True,
            inputs=[
                io.Combo.Input(
                    "instantid_file",
                    options=folders.adapter_files(),
                    tooltip="InstantID's ip-adapter.bin or a safetensors copy, from "
                    "models/instantid.",
                )
            ],
            outputs=[
                sockets.Adapter.Output(display_name="INSTANTID", tooltip="The loaded adapter.")
            ],
        )

    @classmethod
    def validate_inputs(cls, instantid_file: str | None = None) -> bool | str:
        """Take a file name with Windows separators; say what is missing and what is there."""
        return folders.adapter_problem(instantid_file)

    @classmethod
    @told_on_node
    def execute(cls, instantid_file: str) -> io.NodeOutput:
        return io.NodeOutput(*cls.load_model(instantid_file))

    @classmethod
    def load_model(cls, instantid_file: str) -> tuple[Adapter]:
        """Return (adapter,); for Python callers, as in the old pack."""
        return (load_adapter(folders.adapter_path(instantid_file)),)
