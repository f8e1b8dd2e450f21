"""One real ComfyUI server with this pack and stand-in models for the whole tier."""

from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.comfy_server import (
    Prompt,
    PromptFailedError,
    Result,
    Server,
    default_comfyui,
    serve,
    standin_models,
)
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 128  # pixels of the pictures this tier makes


@dataclass(frozen=True)
class Started:
    """The session's server, its folder of models, and which face libraries it had at its start."""

    server: Server
    models: Path
    loaded: tuple[str, ...]


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    models = tmp_path_factory.mktemp("models")
    link_files(standin_models(default_comfyui(), sys.executable), models)
    with serve(models) as running:
        loaded = loaded_modules(running, "insightface onnxruntime")
        yield Started(running, models, loaded)


@pytest.fixture(scope="session")
def server(started: Started) -> Server:
    """The session's server; do not stop it."""
    return started.server


def link_files(source: Path, target: Path) -> None:
    """Repeat a folder with links to its files, so that a file can be taken away."""
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)


def loaded_modules(server: Server, names: str) -> tuple[str, ...]:
    """Return which of these modules, named with spaces between, the server has imported."""
    ask = {"1": {"class_type": "IIDDev_LoadedModules", "inputs": {"names": names}}}
    return tuple(server.run(ask).text("1").split())


def workflow(name: str = "instantid_basic", **changes: dict[str, Any]) -> Prompt:
    """Return the API form of an example workflow, small and quick.

    changes: inputs by class of node, for example KSampler={"seed": 2}.
    """
    path = ROOT / "example_workflows" / "api" / f"{name}.json"
    prompt: Prompt = json.loads(path.read_text(encoding="utf-8"))
    quick = {
        "EmptyLatentImage": {"width": SIZE, "height": SIZE},
        "KSampler": {"steps": 1},
    }
    for wanted in (quick, changes):
        for node in prompt.values():
            node["inputs"].update(copy.deepcopy(wanted.get(node["class_type"], {})))
    return prompt


def node_id(prompt: Prompt, kind: str) -> str:
    """Return the id of the only node of a class."""
    (found,) = (key for key, node in prompt.items() if node["class_type"] == kind)
    return found


def pictures(server: Server, result: Result, prompt: Prompt) -> list[Image.Image]:
    """Return the pictures that the prompt's only SaveImage saved."""
    saved = result.images(node_id(prompt, "SaveImage"))
    return [Image.open(io.BytesIO(server.fetch(image))) for image in saved]


def failure(run: Callable[[Prompt], Any], prompt: Prompt) -> PromptFailedError:
    """Run a prompt that must fail and return how it did."""
    with pytest.raises(PromptFailedError) as caught:
        run(prompt)
    return caught.value
