"""Watch what networks are given while they run: hooks of torch, removed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.patcher_extension
import torch

# (queries, keys, values, extra_options) -> what cross-attention gives.
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


@contextmanager
def contexts_of(**networks: Any) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """Record (name, context (B,N,D)) whenever one of the networks evaluates its middle block."""
    seen: list[tuple[str, torch.Tensor]] = []
    handles = [
        network.middle_block[1]
        .transformer_blocks[0]
        .attn2.to_k.register_forward_pre_hook(
            lambda _module, args, name=name: seen.append((name, args[0].clone()))
        )
        for name, network in networks.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def calls_of(module: Any) -> Iterator[list[int]]:
    """Record the batch size of every call of a module."""
    batches: list[int] = []
    handle = module.register_forward_pre_hook(
        lambda _module, args, kwargs: batches.append(len(args[0] if args else kwargs["x"])),
        with_kwargs=True,
    )
    try:
        yield batches
    finally:
        handle.remove()


def around_attention(model: Any, wrap: Callable[[Attention], Attention]) -> Any:
    """Return a clone whose cross-attentions, as the UNet is given them, run inside of `wrap`."""
    clone = model.clone()

    def look(executor: Any, *args: Any, **kwargs: Any) -> Any:
        replaced = args[5]["patches_replace"]
        attn2 = {slot: wrap(attention) for slot, attention in replaced["attn2"].items()}
        options = {**args[5], "patches_replace": {**replaced, "attn2": attn2}}
        return executor(*args[:5], options, **kwargs)

    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    options = clone.model_options["transformer_options"]
    comfy.patcher_extension.add_wrapper_with_key(kind, "around_attention", look, options)
    return clone
