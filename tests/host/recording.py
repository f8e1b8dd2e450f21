"""Watch what networks are given while they run: hooks of torch, removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
