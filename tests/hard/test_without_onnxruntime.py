"""onnxruntime missing, broken or without the provider: a sentence, and all the rest works."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.devtools.comfy_server import (
    Prompt,
    Server,
    default_comfyui,
    quick_python,
    serve,
    standin_models,
)
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.identity_file import save_identity
from faithful_instantid.nodes.folders import IDENTITIES

from ..conftest import ROOT
from ..server.conftest import node_id
from .conftest import Tally
from .driving import anew, digest, outcome, portrait
from .test_api_input import node
from .test_bad_input import REFUSED, judged

INSTALL = f'{sys.executable} -m pip install "insightface>=1.0.1" onnxruntime'
MISSING = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"
SHARED = "libcudart.so.13: cannot open shared object file: No such file or directory"
# A package, what stands in the place of it on Python's path, and what the message must say.
PLACES = {
    "onnxruntime is missing": (
        *("onnxruntime", MISSING.format("onnxruntime")),
        "The Python package onnxruntime is not installed for the Python that runs ComfyUI; finding "
        f"faces needs it. Run: {INSTALL}",
    ),
    "insightface is missing": (
        *("insightface", MISSING.format("insightface")),
        "The Python package insightface is not installed for the Python that runs ComfyUI; finding "
        f"faces needs it. Run: {INSTALL}",
    ),
    "onnxruntime lacks a library": (
        *("onnxruntime", f"raise ImportError({SHARED!r})"),
        f"onnxruntime is installed, but cannot be imported (ImportError: {SHARED})",
    ),
    "onnxruntime was built for another numpy": (
        *("onnxruntime", "raise ValueError('numpy.dtype size changed')"),
        "onnxruntime is installed, but cannot be imported (ValueError: numpy.dtype size changed)",
    ),
    "onnxruntime needs what is missing": (
        *("onnxruntime", MISSING.format("flatbuffers")),
        "onnxruntime is installed, but the package flatbuffers, which it needs, is not",
    ),
    "only a folder is left of onnxruntime": (
        *("onnxruntime", ""),
        "onnxruntime is installed, but cannot be imported (AttributeError: module 'onnxruntime' "
        "has no attribute 'get_available_providers'",
    ),
}


def in_place_of(package: str, code: str, folder: Path) -> dict[str, str]:
    """Put a package in front of the real one; return the environment variables that do it."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(code)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_missing_is_named_with_the_command_that_helps(
    tmp_path: Path, tally: Tally, place: str
) -> None:
    package, code, wanted = PLACES[place]
    faces = standin_models(default_comfyui(), sys.executable) / "insightface"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "hard" / "looking.py"), str(faces)],
        capture_output=True,
        text=True,
        check=True,
        env={**quick_python(), **in_place_of(package, code, tmp_path)},
    )
    kind, text, _ = json.loads(done.stdout)
    tally("starts without onnxruntime or insightface, or with a broken one", 1)
    assert kind == REFUSED, text
    assert text.startswith(wanted)
    assert f"{sys.executable} -m pip install" in text
    assert judged(text) == REFUSED


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, adapter: Any) -> Iterator[Server]:
    """A server whose Python has no onnxruntime; it has one saved identity."""
    package, code, _ = PLACES["onnxruntime is missing"]
    variables = in_place_of(package, code, tmp_path_factory.mktemp("python"))
    with serve(environment=variables) as server:
        save_ann(server, adapter)
        yield server


def save_ann(server: Server, adapter: Any) -> None:
    folder = server.base / "output" / IDENTITIES
    folder.mkdir(exist_ok=True)
    embedding = torch.linspace(-3, 3, 512)
    save_identity(folder / "without.safetensors", host.encode_identity(adapter, embedding))


def without_a_photo() -> Prompt:
    """Return the portrait of a saved identity, with a face placed by hand."""
    prompt = portrait(seed=3)
    apply = prompt[node_id(prompt, "IID_Apply")]["inputs"]
    for kind in ("IID_EncodeFace", "IID_FaceKeypoints", "IID_LoadInstantID", "LoadImage"):
        del prompt[node_id(prompt, kind)]
    prompt["adapter"] = node("IID_LoadAdapter", file="ip-adapter.bin")
    name = "instantid-identitynet.safetensors"
    prompt["net"] = node("ControlNetLoader", control_net_name=name)
    place = {"width": 256, "height": 256, "x": 0.5, "y": 0.5, "size": 0.5}
    prompt["place"] = node("IID_PlaceKeypoints", **place)
    prompt["ann"] = node("IID_LoadIdentity", adapter=["adapter", 0], file="without.safetensors")
    apply.update(face_embeds=["ann", 0], keypoints=["place", 0], control_net=["net", 0])
    return prompt


@pytest.mark.timeout(600)
def test_a_server_without_onnxruntime_has_all_nodes_and_runs_what_needs_no_photo(
    server: Server, without: Server, adapter: Any, tally: Tally
) -> None:
    ours = {
        name
        for name, described in without.get("/object_info").items()
        if described["python_module"].endswith("faithful-instantid")
    }
    assert ours == {
        name
        for name, described in server.get("/object_info").items()
        if described["python_module"].endswith("faithful-instantid")
    }
    save_ann(server, adapter)
    for _ in range(2):
        failed = outcome(without, portrait())
        tally("prompts on a server without onnxruntime", 2)
        assert failed.state == "raised"
        assert failed.kind == "MissingDependencyError"
        assert failed.message == PLACES["onnxruntime is missing"][2]
        assert portrait()[failed.node]["class_type"] == "IID_LoadInstantID"
        assert anew(without, without_a_photo()) == digest(
            server, outcome(server, without_a_photo())
        )


@pytest.mark.parametrize("provider", ["CUDA", "ROCm", "DirectML"])
def test_a_provider_that_is_not_there_gives_the_same_picture_and_one_line(
    server: Server, tally: Tally, provider: str
) -> None:
    import onnxruntime
    from faithful_instantid.instantid_core.faces import PROVIDERS

    if PROVIDERS[provider] in onnxruntime.get_available_providers():
        pytest.skip(f"onnxruntime offers {PROVIDERS[provider]} here")
    usual = anew(server, portrait(seed=5, IID_LoadInstantID={"provider": "CPU"}))
    line = f"onnxruntime offers no {PROVIDERS[provider]} here"
    before = server.log.count(line)
    assert anew(server, portrait(seed=5, IID_LoadInstantID={"provider": provider})) == usual
    tally("providers that are not there", 1)
    assert server.log.count(line) == before + 1
