"""What InstantID costs around the sampling: loading, encoding, importing. Each against a baseline.

Both sides of a pair do the same work, which is checked: one that left it out is an error.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import comfy.model_management
import numpy as np
import torch
from torch import Tensor

from ...instantid_core.adapter import AdapterModule
from ...instantid_core.checkpoint import measure
from ...instantid_core.host import encode_identity, load_adapter
from ...instantid_core.host.loading import Adapter
from ...instantid_core.model_files import canonical
from ..comfy_server import quick_python
from ..full_size import files
from ..standins import weights
from ..tiny_adapter import make_adapters
from . import models as m
from .timing import Clock, MeaninglessError, Timings, paired

ADAPTER = Path(files.ADAPTER)
STEPS = 30  # of one picture: the published default
FACE = 512  # numbers of a face embedding
TOLERANCE = 0.02  # relative, of K and V in 16 bit
ROOT = Path(__file__).resolve().parents[2]
FRESH = Path(__file__).with_name("fresh_import.py")

T = TypeVar("T")


class NotHereError(RuntimeError):
    """A case needs a Python package that this interpreter does not have; the text names it."""


@dataclass(frozen=True)
class Setup:
    """What the cases measure with.

    size: tiny or full. folder: where model files are made and found again. dtype: of the UNet.
    pixels: side of the picture where something is sampled. models: SDXL, made at the first call.
    """

    size: str
    folder: Path
    dtype: torch.dtype
    pixels: int
    rounds: int
    models: Callable[[], m.Models]

    @property
    def device(self) -> torch.device:
        return comfy.model_management.get_torch_device()

    def adapter_file(self) -> Path:
        """Return the adapter file, made at the first call."""
        path = self.folder / ADAPTER
        if self.size == "full":
            files.make(self.folder, files.ADAPTER)
        elif not path.is_file():
            make_adapters(path, path.with_suffix(".safetensors"), weights.fill)
        return path

    def faces(self, count: int) -> list[Tensor]:
        """`count` random face embeddings, each with the norm of a real one (about 22)."""
        return list(torch.randn(count, FACE, generator=torch.Generator().manual_seed(0)))


def need(*packages: str) -> None:
    """Raise NotHereError unless all packages are installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise NotHereError(f"{' and '.join(missing)} not installed in {sys.executable}")


def in_turn(
    setup: Setup, variants: Mapping[str, Callable[[], T]], check: Callable[[str, T, T], None]
) -> Timings:
    """Time the variants in turn; `check` gets a variant's name, the base's result, and its own.

    Results must be small: the last ones of all variants are held together.
    """
    clock, results = Clock(setup.device), dict[str, T]()

    def run(name: str) -> float:
        gc.collect()
        return clock.time(lambda: results.update({name: variants[name]()}))

    timings = paired({name: partial(run, name) for name in variants}, setup.rounds)
    for name in variants:
        if name != timings.base:
            check(name, results[timings.base], results[name])
    return timings


def alike(name: str, wanted: Tensor, found: Tensor) -> None:
    """Raise MeaninglessError unless two results are the same within TOLERANCE."""
    error = ((found.float() - wanted.float()).norm() / wanted.float().norm()).item()
    if not error <= TOLERANCE:
        raise MeaninglessError(f"'{name}' is {error:.3f} off what it is compared with.")


def load(setup: Setup) -> dict[str, Timings]:
    """The adapter file, alone and with the first face; against reading and copying all of it."""
    path, (face,) = setup.adapter_file(), setup.faces(1)
    naive, ours = "read whole, copied into modules", "this pack"
    file = {
        naive: lambda: sampled(load_naively(path)),
        ours: lambda: sampled(load_adapter(path).module),
    }
    first_face = {
        naive: lambda: project(load_naively(path).to(setup.device), [face, torch.zeros(FACE)]),
        ours: lambda: both_sides(load_adapter(path), face),
    }
    return {
        "the file": in_turn(setup, file, alike),
        "the file and a first face": in_turn(setup, first_face, alike),
    }


def load_naively(path: Path) -> AdapterModule:
    """Read the whole file, build the modules with their first random weights, and copy it in."""
    tensors = canonical(torch.load(path, map_location="cpu", weights_only=True))
    module = AdapterModule(measure(tensors), torch.nn)
    module.load_state_dict(tensors)
    return module.requires_grad_(False).eval()


def sampled(module: AdapterModule) -> Tensor:
    """A few numbers of every weight: (weights * 16 at most,)."""
    return torch.cat([parameter.flatten()[:16].clone() for parameter in module.parameters()])


@torch.no_grad()
def project(module: AdapterModule, faces: list[Tensor]) -> Tensor:
    """K and V of faces, each by itself: (faces, numbers) on the CPU."""
    device = next(module.parameters()).device
    tokens = [module.face_tokens(face[None].to(device)) for face in faces]
    return torch.stack([module.project(one).cpu() for one in tokens])


def both_sides(adapter: Adapter, face: Tensor) -> Tensor:
    identity = encode_identity(adapter, face)
    return torch.stack([identity.positive.kv, identity.negative.kv])


def encode(setup: Setup) -> dict[str, Timings]:
    """K and V once for each face, against projecting them in each of a picture's UNet calls."""
    adapter = load_adapter(setup.adapter_file())
    face, other = setup.faces(2)

    def anew() -> Tensor:
        adapter.negative_sides.clear()
        return both_sides(adapter, face)

    naive = projected_in_every_call(setup, adapter, face)
    once = {f"K and V in each of {STEPS} calls": naive, "this pack, once": anew}
    sides = {"both sides": anew, "negative side kept": lambda: both_sides(adapter, other)}
    return {
        "one picture of one face": in_turn(setup, once, alike),
        "a face, and another one": in_turn(setup, sides, another),
    }


def another(name: str, one: Tensor, other: Tensor) -> None:
    """Raise MeaninglessError unless the positive sides differ and the negative ones do not."""
    if torch.equal(one[0], other[0]) or not torch.equal(one[1], other[1]):
        raise MeaninglessError(f"'{name}' did not encode another face for the same adapter.")


def projected_in_every_call(setup: Setup, adapter: Adapter, face: Tensor) -> Callable[[], Tensor]:
    """The baseline: 140 projections held on the device in the UNet's dtype, run at every call.

    What is returned does so for one picture, and gives both sides of the last: (2, numbers).
    """
    place: dict[str, Any] = {"device": setup.device, "dtype": setup.dtype}
    identity = encode_identity(adapter, face)
    tokens = torch.cat([identity.positive.tokens, identity.negative.tokens]).to(**place)
    weights = [weight.to(**place) for weight in adapter.module.ip_adapter.parameters()]

    @torch.no_grad()
    def picture() -> Tensor:
        for _ in range(STEPS):
            last = [torch.nn.functional.linear(tokens, weight) for weight in weights]  # (2,N,C)
        return torch.cat([part.flatten(1) for part in last], dim=1).cpu()

    return picture


def import_time(setup: Setup) -> dict[str, Timings]:
    """torch and ComfyUI, with this pack, with the face libraries as well: in fresh processes."""
    runs = [fresh_import() for _ in range(setup.rounds)]
    comfyui, pack, faces = (np.array([run[part] for run in runs]) for part in runs[0])
    start = {"torch and ComfyUI": comfyui, "this pack": comfyui + pack}
    alone = {"this pack": pack}
    if faces.all():
        name = "a pack that imports insightface and onnxruntime"
        start[name], alone[name] = comfyui + pack + faces, pack + faces
    rows = {"a server's start": start, "of that, the pack": alone}
    return {row: Timings({k: v.tolist() for k, v in made.items()}) for row, made in rows.items()}


def fresh_import() -> dict[str, float]:
    """Seconds of each part of an import in a new process, as fresh_import.py has them.

    Errors: MeaninglessError where the pack gave no nodes, or brought the face libraries along.
    """
    comfyui = Path(str(importlib.import_module("comfy.options").__file__)).parents[1]
    cpu = ["--cpu"] if comfy.model_management.cpu_mode() else []
    command = [sys.executable, str(FRESH), str(comfyui), str(ROOT), *cpu]
    done = subprocess.run(command, capture_output=True, text=True, env=quick_python())
    if done.returncode != 0:
        raise MeaninglessError(f"The pack could not be imported:\n{done.stderr[-4000:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    if said["nodes"] == 0 or said["early"]:
        raise MeaninglessError(
            f"Importing the pack gave {said['nodes']} nodes and imported {said['early']}."
        )
    return said["seconds"]


CASES = {"load": load, "encode": encode, "import": import_time}
