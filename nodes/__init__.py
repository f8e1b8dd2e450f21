"""The nodes, by subject. Every module lists its own in `NODES`."""

from comfy_api.latest import ComfyExtension, io

from . import (
    apply,
    crops,
    examples,
    faces,
    folders,
    keypoints,
    legacy,
    likeness,
    loaders,
    people,
    poses,
    regions,
    video,
    weighting,
)

__all__ = ["FaithfulInstantID", "folders"]

MODULES = (
    loaders,
    faces,
    keypoints,
    poses,
    video,
    regions,
    crops,
    apply,
    people,
    weighting,
    likeness,
)


class FaithfulInstantID(ComfyExtension):
    """What ComfyUI asks for the list of nodes."""

    async def on_load(self) -> None:
        await legacy.register_replacements()
        examples.lay_out_photos()
        examples.register_links()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [node for module in MODULES for node in module.NODES] + legacy.free_nodes()
