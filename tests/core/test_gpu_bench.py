"""The folder for a GPU without a network holds what a run needs and little else."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def gpu_bench(script_module: Callable[[str], ModuleType]) -> ModuleType:
    return script_module("gpu_bench")


@pytest.fixture
def packed(gpu_bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder packed from a ComfyUI of a few files, without wheels: those need a network."""
    comfyui = tmp_path / "ComfyUI"
    for name in ("nodes.py", "comfy/ops.py", "comfy/clip.json", "custom_nodes/other.py"):
        (comfyui / name).parent.mkdir(parents=True, exist_ok=True)
        (comfyui / name).write_text("0")
    (comfyui / "comfy" / "words.json").write_bytes(b" " * 2**20)
    monkeypatch.setattr(gpu_bench, "download_wheels", lambda folder, comfyui, python: None)
    folder = tmp_path / "carried"
    gpu_bench.pack(argparse.Namespace(folder=folder, comfyui=comfyui, python="3.12"))
    return folder


def test_comfyui_s_files_and_the_core_are_packed_without_nodes_and_models(packed: Path) -> None:
    files = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert {file for file in files if file.startswith("comfyui/")} == {
        "comfyui/nodes.py",
        "comfyui/comfy/ops.py",
        "comfyui/comfy/clip.json",
    }
    assert "pack/devtools/gpu_bench.py" in files
    assert "pack/instantid_core/host/adapter_call.py" in files
    assert not [file for file in files if file.startswith("pack/nodes/") or ".safetensors" in file]


def test_a_folder_that_is_not_empty_is_left_alone(gpu_bench: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    options = argparse.Namespace(folder=tmp_path, comfyui=tmp_path, python="3.12")
    with pytest.raises(SystemExit, match="is not empty. Name a new folder"):
        gpu_bench.pack(options)


def test_what_a_machine_lacks_is_named(packed: Path) -> None:
    """This tier has PyTorch, but not all that ComfyUI needs is certain to be there."""
    script = packed / "pack" / "devtools" / "gpu_bench.py"
    command = [sys.executable, "-S", str(script), "run", str(packed), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith("missing here: torch, torchvision, ")
    assert "comfy_kitchen" in done.stdout
    assert importlib.util.find_spec("torch") is not None  # -S hid it


def test_what_was_measured_is_written_after_every_row_and_what_was_not_is_named(
    gpu_bench: ModuleType, tmp_path: Path
) -> None:
    report = gpu_bench.Report(tmp_path / "out", seconds=60.0)
    assert report.has_time("a row")
    report.add("a row", {"times": [1.0]}, "| a table |")
    assert not report.has_time("a compilation", 90.0)
    figures = json.loads((tmp_path / "out" / "gpu_bench.json").read_text())
    assert figures == {"rows": {"a row": {"times": [1.0]}}, "left out": ["a compilation"]}
    text = (tmp_path / "out" / "gpu_bench.md").read_text()
    assert text == "| a table |\n\n- left out, for lack of time: a compilation\n"
