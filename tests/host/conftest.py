"""A real ComfyUI in this process, on the CPU; COMFYUI_PATH names its tree."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file


def start_comfyui() -> None:
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    sys.argv = ["pytest", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.model_management  # noqa: F401  (reads the arguments now)


start_comfyui()

from faithful_instantid.devtools import tiny_adapter, tiny_sdxl  # noqa: E402
from faithful_instantid.instantid_core import host  # noqa: E402
from faithful_instantid.tests.golden.weights import fill  # noqa: E402

from .naive_adapter import NaiveAdapter  # noqa: E402
from .scene import Scene  # noqa: E402

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture(scope="session")
def official() -> dict[str, torch.Tensor]:
    """The official pipeline's inputs and predictions on the tiny model."""
    return load_file(GOLDEN / "official.safetensors")


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """A MODEL: tiny SDXL with the golden weights. Shared: clone before patching."""
    return tiny_sdxl.build_model(lambda shapes: fill(shapes, "unet"))


@pytest.fixture(scope="session")
def adapter_weights() -> dict[str, dict[str, torch.Tensor]]:
    """The content of the golden adapter file. Shared: not to be changed."""
    return tiny_adapter.state_dict(fill)


@pytest.fixture(scope="session")
def adapter(adapter_weights: dict[str, dict[str, torch.Tensor]]) -> Any:
    """An INSTANTID: the golden adapter, loaded."""
    return host.adapter_from_state_dict(adapter_weights)


@pytest.fixture(scope="session")
def identity(adapter: Any, official: dict[str, torch.Tensor]) -> Any:
    """FACE_EMBEDS of the golden face."""
    return host.encode_identity(adapter, official["in.face_embedding"])


@pytest.fixture(scope="session")
def make_controlnet() -> Callable[[str], Any]:
    """Return the maker of a tiny CONTROL_NET by tag: `identitynet` or `depthnet`."""
    made: dict[str, Any] = {}

    def make(tag: str) -> Any:
        if tag not in made:
            made[tag] = tiny_sdxl.build_controlnet(lambda shapes: fill(shapes, tag))
        return made[tag]

    return make


@pytest.fixture(scope="session")
def second_identity(adapter: Any, official: dict[str, torch.Tensor]) -> Any:
    """Another person of the same adapter file."""
    return host.encode_identity(adapter, official["in.face_embedding"].flip(0))


@pytest.fixture(scope="module")
def naive(tiny_model: Any, adapter_weights: Any) -> NaiveAdapter:
    return NaiveAdapter(tiny_model, adapter_weights["ip_adapter"])


@pytest.fixture
def scene(official: Any, tiny_model: Any, identity: Any, naive: NaiveAdapter) -> Scene:
    return Scene(official, tiny_model, identity, naive)
