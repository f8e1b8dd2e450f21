"""What `gpu_bench.py` measures: a row for every size and batch, windows of frames, compilation."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import comfy.context_windows

from ...instantid_core.host import apply_adapter
from ...instantid_core.regions import FaceRegion, Outline
from . import cases
from . import models as m
from .gpu import ADAPTER

SIZES = ((1024, 1024), (832, 1216), (512, 512))
PICTURES = (1, 4)  # at once; a call has twice as many rows, for both sides
PEOPLE = 4
FRAMES, WINDOW, OVERLAP = 16, 8, 2
BARE = "bare UNet"


def calls(models: m.Models, sizes: tuple[tuple[int, int], ...] = SIZES) -> Iterator[cases.Row]:
    """Everything that a picture can have, and the naive adapter, by size and batch."""
    identity = models.identity(1)
    for size in sizes:
        for pictures in PICTURES:
            people = cases.crowd(models, size, PEOPLE)
            region = FaceRegion(m.keypoints(size), outline=Outline(padding=0.2, feather=0.3))
            sides = (models.positive, models.negative)
            variants = {
                BARE: cases.bare(models),
                ADAPTER: cases.adapter(models, identity),
                "adapter with a mask": (apply_adapter(models.model, identity, mask=region), *sides),
                "adapter + IdentityNet": cases.both(models, identity, size),
                f"{PEOPLE} people": cases.both(models, people, size),
                "naive adapter": cases.naive(models, identity),
            }
            yield name_of(size, pictures), size, pictures, variants


def name_of(size: tuple[int, int], pictures: int) -> str:
    return f"{size[0]}x{size[1]}, {2 * pictures} rows"


def frames(models: m.Models, size: tuple[int, int] = SIZES[-1]) -> Iterator[cases.Row]:
    """A video in ComfyUI's own windows; one call is all of its windows."""
    identity = models.identity(1)
    variants = {
        BARE: cases.bare(models),
        ADAPTER: cases.adapter(models, identity),
        "adapter + IdentityNet": cases.both(models, identity, size),
    }
    in_windows = {name: (_in_windows(model), *sides) for name, (model, *sides) in variants.items()}
    name = f"{FRAMES} frames of {size[0]}x{size[1]}, {WINDOW} at once"
    yield name, size, FRAMES, in_windows


def _in_windows(model: Any) -> Any:
    windows = comfy.context_windows
    clone = model.clone()
    clone.model_options["context_handler"] = windows.IndexListContextHandler(
        windows.get_matching_context_schedule(windows.ContextSchedules.STATIC_STANDARD),
        windows.get_matching_fuse_method(windows.ContextFuseMethods.PYRAMID),
        context_length=WINDOW,
        context_overlap=OVERLAP,
    )
    return clone


def compiled(
    models: m.Models, backend: str, module: str, size: tuple[int, int] = SIZES[0]
) -> Iterator[cases.Row]:
    """A module of the model by torch.compile, as ComfyUI's own node does it, beside the eager one.

    module: its name; "diffusion_model" is the whole UNet.
    """
    identity = models.identity(1)
    eager = {BARE: cases.bare(models), ADAPTER: cases.adapter(models, identity)}
    fast = {
        f"{name}, compiled": (_compiled(model, backend, module), *sides)
        for name, (model, *sides) in eager.items()
    }
    yield f"{name_of(size, 1)}, torch.compile", size, 1, {**eager, **fast}


def _compiled(model: Any, backend: str, module: str) -> Any:
    clone = model.clone()
    helpers = importlib.import_module("comfy_api.torch_helpers")
    helpers.set_torch_compile_wrapper(clone, backend=backend, keys=[module])
    return clone
