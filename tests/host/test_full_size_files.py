"""The full-size stand-in files have the official names, shapes and sizes, and finite numbers."""

from __future__ import annotations

from math import prod
from pathlib import Path

import comfy.model_detection
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.full_size import files, layouts
from safetensors.torch import load_file


def numbers_in(layout: layouts.Layout) -> int:
    return sum(map(prod, layout.values()))


@pytest.mark.parametrize(
    ("part", "tensors", "numbers"),
    [
        ("unet", 1680, 2_567_463_684),
        ("text_encoders", 197 + 390, 123_060_480 + 77 + 694_659_841),
        ("vae", 248, 83_653_863),
        ("checkpoint", 2515, 3_468_837_945),
        ("identitynet", 844, 1_251_014_160),
    ],
)
def test_layout_has_the_published_number_of_tensors_and_numbers(
    part: str, tensors: int, numbers: int
) -> None:
    made = getattr(layouts, part)()
    assert len(made) == tensors
    assert numbers_in(made) == numbers


def test_the_adapter_has_the_published_number_of_tensors_and_numbers() -> None:
    parts = layouts.adapter()
    counted = {name: (len(part), numbers_in(part)) for name, part in parts.items()}
    assert counted == {"image_proj": (51, 81_978_624), "ip_adapter": (140, 340_787_200)}


def test_the_checkpoint_is_recognised_as_sdxl() -> None:
    prefix = "model.diffusion_model."
    shapes = layouts.checkpoint().items()
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes}
    config = comfy.model_detection.model_config_from_unet(tensors, prefix)
    assert type(config).__name__ == "SDXL"


def test_identitynet_file_has_the_published_size_to_the_byte() -> None:
    layout = layouts.identitynet()
    size = len(files.header(layout, {})) + 2 * numbers_in(layout)
    assert size == files.PUBLISHED[files.IDENTITYNET] == 2_502_139_136


def test_checkpoint_file_differs_from_the_published_size_only_by_its_description() -> None:
    # The published file carries 37 kB of metadata (title, licence, preview) in its header.
    layout = layouts.checkpoint()
    size = len(files.header(layout, {layouts.POSITION_IDS: np.zeros((1, 77))}))
    size += 2 * numbers_in(layout) + 6 * prod(layout[layouts.POSITION_IDS])
    assert 0 < files.PUBLISHED[files.CHECKPOINT] - size < 40_000


def test_adapter_keys_run_over_the_odd_numbers_to_139() -> None:
    keys = layouts.adapter()["ip_adapter"]
    assert {int(name.split(".")[0]) for name in keys} == set(range(1, 140, 2))
    assert keys["1.to_k_ip.weight"] == keys["119.to_v_ip.weight"] == (640, 2048)
    assert keys["9.to_k_ip.weight"] == keys["139.to_v_ip.weight"] == (1280, 2048)


def test_written_file_is_read_back_with_names_shapes_and_kept_integers(tmp_path: Path) -> None:
    layout = {"b.weight": (3, 5), "a.bias": (7,), "ids": (1, 4), "c": ()}
    ids = np.arange(4)[None]
    files.write_safetensors(tmp_path / "x.safetensors", layout, 1, {"ids": ids})
    read = load_file(tmp_path / "x.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in read.items()} == layout
    assert read["b.weight"].dtype == torch.float16
    assert read["ids"].tolist() == ids.tolist()


def test_a_tensor_larger_than_the_block_has_no_two_equal_rows(tmp_path: Path) -> None:
    rows, width = 2200, 1000
    assert rows * width > 2 * files.BLOCK
    files.write_safetensors(tmp_path / "x.safetensors", {"m": (rows, width)}, 1, {})
    matrix = load_file(tmp_path / "x.safetensors")["m"]
    assert len(torch.unique(matrix, dim=0)) == rows


def test_random_layers_keep_the_size_of_what_goes_through_them() -> None:
    mean, spread = files.scale_of("x.to_q.weight", (1280, 640))
    matrix = torch.from_numpy(np.resize(files.normal_block(0), (1280, 640))) * spread + mean
    through = torch.randn(16, 640, generator=torch.Generator().manual_seed(0)) @ matrix.T
    assert 0.8 < through.std().item() < 1.2


def test_ballast_changes_the_size_of_an_onnx_file_but_not_its_answers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    twice = helper.make_node("Add", ["x", "x"], ["y"])
    values = [helper.make_tensor_value_info(name, number, [1, 4]) for name in ("x", "y")]
    plain = helper.make_graph([twice], "twice", values[:1], values[1:])
    path, size = tmp_path / "m.onnx", 3_000_000
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(plain, opset_imports=[opset], ir_version=8), path)
    files.add_ballast(path, size)
    assert abs(path.stat().st_size / size - 1) < 0.01
    given = np.array([[1.5, -2, 0, 3]], np.float32)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": given})
    assert (found == 2 * given).all()


def test_a_file_of_another_size_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / files.DETECTOR
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0" * files.PUBLISHED[files.DETECTOR])
    assert files.is_complete(tmp_path, files.DETECTOR)
    path.write_bytes(b"\0" * 1000)
    assert not files.is_complete(tmp_path, files.DETECTOR)
    files.make(tmp_path, files.DETECTOR)
    assert files.is_complete(tmp_path, files.DETECTOR)
    made = path.stat().st_mtime_ns
    files.make(tmp_path, files.DETECTOR)
    assert path.stat().st_mtime_ns == made
