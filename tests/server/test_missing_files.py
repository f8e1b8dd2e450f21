"""When a model file is gone, the answer names the file, the folder and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faithful_instantid.devtools.example_files import read
from faithful_instantid.devtools.example_files import workflow as example

from .conftest import Started, failure, workflow

FACES = "insightface/models/antelopev2"


@contextmanager
def without(path: Path) -> Iterator[None]:
    """Take a file away for a while."""
    target = path.readlink()
    path.unlink()
    try:
        yield
    finally:
        path.symlink_to(target)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("instantid/ip-adapter.bin", "InstantX/InstantID"),
        (f"{FACES}/scrfd_10g_bnkps.onnx", "antelopev2"),
        (f"{FACES}/glintr100.onnx", "antelopev2"),
    ],
)
def test_a_missing_file_of_ours_is_named_with_its_folder_and_its_source(
    started: Started, file: str, source: str
) -> None:
    with without(started.models / file):
        message = failure(started.server.run, workflow()).message
    name, folder = Path(file).name, Path(file).parent
    assert name in message
    assert str(folder) in message
    assert source in message


def test_a_missing_identitynet_is_named_by_the_loader_of_all_three(started: Started) -> None:
    prompt = workflow("instantid_two_people")
    (loader,) = (n for n in prompt.values() if n["class_type"] == "IID_LoadInstantID")
    with without(started.models / "controlnet" / loader["inputs"]["identitynet"]):
        message = failure(started.server.run, prompt).message
    assert loader["inputs"]["identitynet"] in message
    assert "controlnet" in message
    assert "InstantX/InstantID" in message


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("controlnet/diffusers_xl_depth_full.safetensors", "ControlNetLoader"),
        ("checkpoints/sd_xl_base_1.0.safetensors", "CheckpointLoaderSimple"),
    ],
)
def test_for_a_missing_file_of_cores_loaders_the_workflow_itself_carries_folder_and_source(
    started: Started, file: str, node: str
) -> None:
    name, folder = Path(file).name, Path(file).parent.name
    with without(started.models / file):
        message = failure(started.server.run, workflow("instantid_depth")).message
    assert name in message
    assert node in message
    nodes = read(example("instantid_depth"))["nodes"]
    (loader,) = (found for found in nodes if found["type"] == node)
    (offered,) = loader["properties"]["models"]
    assert offered["name"] == name
    assert offered["directory"] == folder
    assert offered["url"].startswith("https://huggingface.co/")
    assert offered["url"].endswith(".safetensors")
