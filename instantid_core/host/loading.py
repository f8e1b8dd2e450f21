"""Adapter file to an adapter whose weights ComfyUI manages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.controlnet
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from .. import checks
from ..adapter import AdapterModule
from ..checkpoint import measure, read_adapter, recognise
from ..errors import InstantIDError, WrongFileError
from ..identity import IdentitySide
from ..log import log
from ..memory import refuse_shortage
from ..model_files import canonical, read_tensors
from ..unet_layout import FAMILIES, Family


class Adapter:
    """A loaded adapter: its module inside a ModelPatcher, so that ComfyUI moves its weights.

    patcher: ComfyUI's handle of the weights; load it with `load_models_gpu` before using `module`.
    negative_sides: the negative side of zero embeddings by number of references, shared between
    all identities of this adapter.
    """

    def __init__(self, module: AdapterModule) -> None:
        self.patcher = _patcher(module)
        self.negative_sides: dict[int, IdentitySide] = {}

    @property
    def module(self) -> AdapterModule:
        return self.patcher.model

    @property
    def embedding_width(self) -> int:
        """Width of the face embeddings it takes (512)."""
        return self.module.size.resampler.embedding_width

    @property
    def context_width(self) -> int:
        """Width of the face tokens it gives: the UNet's context width (2048)."""
        return self.module.size.resampler.output_width

    @property
    def family(self) -> Family:
        """The base models it is for."""
        return self.module.size.family


def load_adapter(path: str | Path) -> Adapter:
    """Load an InstantID adapter file, pickle (.bin) or safetensors, in the file's own dtype.

    path: of an adapter in two files, either of them.

    Errors: MissingFileError; WrongFileError, which says what the file is and where it goes.
    """
    adapter = _build(read_adapter(path))
    log.info("InstantID adapter loaded from %s", path)
    return adapter


def load_identitynet(path: str | Path) -> Any:
    """Load a ControlNet file as ComfyUI's own node does; WrongFileError if it is none.

    Keys with what a parallel training puts before them are read too.
    """
    try:
        control_net = comfy.controlnet.load_controlnet(str(path))
        if control_net is None:
            tensors = read_tensors(Path(path))
            control_net = comfy.controlnet.load_controlnet_state_dict(tensors)
    except InstantIDError:
        raise
    except Exception as error:
        refuse_shortage(error, f"read {path}")
        raise WrongFileError(
            f"{path} cannot be read ({checks.said(error)}). It is probably damaged or was not "
            "downloaded whole: download IdentityNet again."
        ) from error
    if control_net is None:
        raise WrongFileError(
            f"{path} is no ControlNet. Wanted: IdentityNet, "
            + " or ".join(f"for {one.name} {one.identitynet}" for one in FAMILIES)
            + ", in models/controlnet."
        )
    return control_net


def adapter_from_state_dict(state_dict: Mapping[str, Any]) -> Adapter:
    """Build an adapter from a state dict, nested as in ip-adapter.bin or flat; no copy is made.

    Errors: WrongFileError where the tensors are not those of an InstantID adapter.
    """
    return _build(recognise(canonical(state_dict), "This state dict"))


def _build(tensors: Mapping[str, Tensor]) -> Adapter:
    try:
        module = AdapterModule(measure(tensors), comfy.ops.manual_cast, device=torch.device("meta"))
        module.load_state_dict(tensors, strict=True, assign=True)
    except Exception as error:
        refuse_shortage(error, "hold the adapter")
        raise WrongFileError(
            "The adapter's tensors do not fit each other: the file is damaged or was made for "
            "something else, or its two files do not belong to each other. Download it again: "
            f"{' or '.join(f'for {one.name} {one.files}' for one in FAMILIES)}."
        ) from error
    return Adapter(module.requires_grad_(False).eval())


def _patcher(module: AdapterModule) -> Any:
    """Wrap the module in the ModelPatcher class that this ComfyUI prefers."""
    management = comfy.model_management
    name = "CoreModelPatcher"
    patcher = getattr(comfy.model_patcher, name, comfy.model_patcher.ModelPatcher)
    return patcher(
        module,
        load_device=management.get_torch_device(),
        offload_device=management.unet_offload_device(),
    )
