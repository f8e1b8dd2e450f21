"""For development only: nodes that a server needs to be looked at beside other packs.

Linked into custom_nodes by devtools/beside.py; users never install it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

WIDE = {("input", 7), ("input", 8), ("output", 0), ("output", 1), ("output", 2), ("middle", 0)}
STYLE_TOKENS, STYLE_WIDTH = 4, 32
OURS = "SlotAttention"  # the class of what this pack leaves in a slot for one call


def slots() -> Iterator[tuple[tuple[str, int, int], int]]:
    """Yield the 70 cross-attention slots of the tiny SDXL and their widths, in diffusers' order."""
    blocks = [("input", 4, 2), ("input", 5, 2), ("input", 7, 10), ("input", 8, 10)]
    blocks += [("output", 0, 10), ("output", 1, 10), ("output", 2, 10)]
    blocks += [("output", 3, 2), ("output", 4, 2), ("output", 5, 2), ("middle", 0, 10)]
    for kind, number, depth in blocks:
        for index in range(depth):
            yield (kind, number, index), 128 if (kind, number) in WIDE else 64


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _projections(context: int, seed: int) -> dict[str, torch.Tensor]:
    """Return K and V projections in the names of an IP-Adapter file."""
    generator, out = _random(seed), {}
    for place, (_, width) in enumerate(slots()):
        for part in ("k", "v"):
            values = torch.randn(width, context, generator=generator) / context**0.5
            out[f"{2 * place + 1}.to_{part}_ip.weight"] = values
    return out


class Fresh:
    """The model as a new clone for each `turn`, so that nothing after it comes from the cache.

    It is taken off the device first: some packs wrap what another run's patch has left on it.
    """

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"model": ("MODEL",), "turn": ("INT", {"default": 0})}}

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, model: Any, turn: int) -> tuple[Any]:
        import comfy.model_management

        comfy.model_management.unload_all_models()
        return (model.clone(),)


class Keep:
    """Writes a latent or pictures to the output folder, every bit of them."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"what": ("*",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types: dict[str, Any]) -> bool:  # noqa: N802
        return True

    RETURN_TYPES = ()
    FUNCTION = "keep"
    OUTPUT_NODE = True
    CATEGORY = "development"

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> float:  # noqa: N802
        return float("nan")

    def keep(self, what: Any) -> dict[str, Any]:
        import folder_paths
        from safetensors.torch import save_file

        tensor = what["samples"] if isinstance(what, dict) else what
        path = Path(folder_paths.get_output_directory()) / "kept.safetensors"
        save_file({"kept": tensor.detach().float().cpu().contiguous()}, path)
        return {"ui": {"text": [str(tuple(tensor.shape))]}}


class CountSlots:
    """Counts in how many slots this pack's attention is called; goes last on a MODEL."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"model": ("MODEL",)}}

    RETURN_TYPES = ("MODEL", "SLOT_COUNT")
    FUNCTION = "patch"
    CATEGORY = "development"

    def patch(self, model: Any) -> tuple[Any, set[Any]]:
        from comfy.patcher_extension import WrappersMP

        called: set[Any] = set()

        def watch(executor: Any, *args: Any, **kwargs: Any) -> Any:
            options = args[5] if len(args) > 5 else kwargs.get("transformer_options", {})
            replaced = options.get("patches_replace", {})
            attn2 = {
                slot: _watched(slot, attention, called)
                for slot, attention in replaced.get("attn2", {}).items()
            }
            options = {**options, "patches_replace": {**replaced, "attn2": attn2}}
            if len(args) > 5:
                args = (*args[:5], options, *args[6:])
            else:
                kwargs["transformer_options"] = options
            return executor(*args, **kwargs)

        clone = model.clone()
        clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "count_slots", watch)
        return clone, called


def _watched(slot: Any, attention: Any, called: set[Any]) -> Any:
    if type(attention).__name__ != OURS:
        return attention

    def watched(*args: Any, **kwargs: Any) -> Any:
        called.add(slot)
        return attention(*args, **kwargs)

    return watched


class SayCount:
    """Says how many slots were called, after something was sampled."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"count": ("SLOT_COUNT",), "after": ("*",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types: dict[str, Any]) -> bool:  # noqa: N802
        return True

    RETURN_TYPES = ()
    FUNCTION = "say"
    OUTPUT_NODE = True
    CATEGORY = "development"

    def say(self, count: set[Any], after: Any) -> dict[str, Any]:
        return {"ui": {"text": [str(len(count))]}}


class StyleFile:
    """A small IP-Adapter with random weights, as its loader gives it, and an embedding for it."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {"required": {"seed": ("INT", {"default": 1})}}

    RETURN_TYPES = ("IPADAPTER", "EMBEDS", "CLIP_VISION")
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, seed: int) -> tuple[Any, Any, Any]:
        context, generator = 2048, _random(seed)  # which tells it that this is for SDXL
        tokens = STYLE_TOKENS * context
        proj = torch.randn(tokens, STYLE_WIDTH, generator=generator) / STYLE_WIDTH**0.5
        image_proj = {"proj.weight": proj, "proj.bias": torch.zeros(tokens)}
        image_proj |= {"norm.weight": torch.ones(context), "norm.bias": torch.zeros(context)}
        embedding = torch.randn(1, STYLE_WIDTH, generator=generator)
        file = {"image_proj": image_proj, "ip_adapter": _projections(context, seed)}
        return file, embedding, object()  # its node asks for a CLIP Vision, and does not use it


class PulidPatch:
    """PuLID's own patch of a MODEL, with random numbers for what its face encoder would say."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        weight = ("FLOAT", {"default": 0.8, "min": -1.0, "max": 5.0})
        return {"required": {"model": ("MODEL",), "weight": weight}}

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"
    CATEGORY = "development"

    def patch(self, model: Any, weight: float) -> tuple[Any]:
        import nodes

        pulid = sys.modules[nodes.NODE_CLASS_MAPPINGS["ApplyPulid"].__module__]  # pyright: ignore
        layers, generator = torch.nn.Module(), _random(7)
        layers.ip_layers = pulid.To_KV(_projections(64, 7))
        sampling = model.get_model_object("model_sampling")
        kwargs = {
            "pulid": layers,
            "weight": weight,
            "cond": torch.randn(1, 5, 64, generator=generator),
            "uncond": torch.randn(1, 5, 64, generator=generator),
            "sigma_start": sampling.percent_to_sigma(0.0),
            "sigma_end": sampling.percent_to_sigma(1.0),
            "ortho_v2": True,
        }
        clone = model.clone()
        for place, (slot, _) in enumerate(slots()):
            named = {**kwargs, "module_key": str(2 * place + 1)}
            pulid.set_model_patch_replace(clone, named, slot)
        return (clone,)


class Frames:
    """A picture as many frames, each moved to the right by some pixels more."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        whole = ("INT", {"default": 6})
        return {"required": {"image": ("IMAGE",), "count": whole, "step": ("INT", {"default": 8})}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, image: Any, count: int, step: int) -> tuple[Any]:
        frames = [torch.roll(image[:1], place * step, dims=2) for place in range(count)]
        return (torch.cat(frames),)


class FrameMasks:
    """A mask for each frame: a band of the picture that moves to the right."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        whole = ("INT", {"default": 6})
        return {"required": {"count": whole, "width": whole, "height": whole}}

    RETURN_TYPES = ("MASK",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, count: int, width: int, height: int) -> tuple[Any]:
        masks = torch.zeros(count, height, width)
        for place, mask in enumerate(masks):
            left = place * width // count
            mask[:, left : left + width // 4] = 1.0
        return (masks,)


class CornerMask:
    """A mask of the top left corner: a quarter of the width, a quarter of the height."""

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        whole = ("INT", {"default": 64})
        return {"required": {"width": whole, "height": whole}}

    RETURN_TYPES = ("MASK",)
    FUNCTION = "make"
    CATEGORY = "development"

    def make(self, width: int, height: int) -> tuple[Any]:
        mask = torch.zeros(1, height, width)
        mask[:, : height // 4, : width // 4] = 1.0
        return (mask,)


NODE_CLASS_MAPPINGS = {
    "Beside_CornerMask": CornerMask,
    "Beside_CountSlots": CountSlots,
    "Beside_FrameMasks": FrameMasks,
    "Beside_Frames": Frames,
    "Beside_Fresh": Fresh,
    "Beside_Keep": Keep,
    "Beside_PulidPatch": PulidPatch,
    "Beside_SayCount": SayCount,
    "Beside_StyleFile": StyleFile,
}
