"""Memory that runs out is told as that, never as a damaged file."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core import identity_file, model_files
from faithful_instantid.instantid_core.checkpoint import read_adapter
from faithful_instantid.instantid_core.errors import OutOfMemoryError, WrongFileError
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from faithful_instantid.instantid_core.faces import analyzer as analyzer_module
from faithful_instantid.instantid_core.identity_file import load_embeddings
from safetensors.torch import save_file

# As Python, the operating system, PyTorch on the CPU, onnxruntime and OpenCV say it.
SHORTAGES = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("Failed to allocate memory for requested buffer of size 1677721600"),
    ValueError("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 9 bytes"),
]


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.fixture(params=SHORTAGES, ids=range(len(SHORTAGES)))
def shortage(request: pytest.FixtureRequest) -> BaseException:
    return request.param


def test_while_an_adapter_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortage: BaseException
) -> None:
    save_file({"x": torch.ones(3)}, tmp_path / "a.safetensors")
    torch.save({"x": torch.ones(3)}, tmp_path / "a.bin")
    monkeypatch.setattr(model_files, "load_file", failing(shortage))
    monkeypatch.setattr(torch, "load", failing(shortage))
    for name in ("a.safetensors", "a.bin"):
        with pytest.raises(OutOfMemoryError, match=f"^There is not enough memory to read {name}"):
            read_adapter(tmp_path / name)


def test_while_an_identity_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"x": torch.ones(3)}, tmp_path / "a.safetensors")
    for shortage in SHORTAGES[:2]:
        monkeypatch.setattr(identity_file, "safe_open", failing(shortage))
        with pytest.raises(OutOfMemoryError, match="not enough memory to read a.safetensors"):
            load_embeddings(tmp_path / "a.safetensors")


def test_while_a_face_model_is_opened(
    insightface_folder: Path, monkeypatch: pytest.MonkeyPatch, shortage: BaseException
) -> None:
    monkeypatch.setattr(analyzer_module, "open_session", failing(shortage))
    with pytest.raises(OutOfMemoryError, match=r"memory to open .*scrfd_10g_bnkps\.onnx"):
        open_analyzer(find_pack("antelopev2", [insightface_folder]), "CPU")


class Failing:
    """A face model whose session fails."""

    use_kps, static_input_size, det_thresh = True, None, 0.5

    def __init__(self, error: BaseException) -> None:
        self.forward = self.detect = self.get = failing(error)


def test_while_a_picture_is_looked_at(shortage: BaseException) -> None:
    model = Failing(shortage)
    analyzer = FaceAnalyzer(model, model)
    picture = np.zeros((60, 80, 3), np.uint8)
    for look in (analyzer.find, analyzer.find_as_insightface):
        with pytest.raises(OutOfMemoryError, match="look at a picture of 80x60 with the face det"):
            look(picture)


def test_what_comfyui_frees_models_at_goes_on_as_it_is() -> None:
    error = torch.cuda.OutOfMemoryError("CUDA out of memory.")
    model = Failing(error)
    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        FaceAnalyzer(model, model).find(np.zeros((60, 80, 3), np.uint8))
    assert caught.value is error


def test_what_is_no_shortage_stays_what_it_was() -> None:
    model = Failing(RuntimeError("Non-zero status code"))
    with pytest.raises(WrongFileError, match="The face detector failed at a picture of 80x60"):
        FaceAnalyzer(model, model).find(np.zeros((60, 80, 3), np.uint8))
