"""The full-size stand-in files have the official names, shapes and sizes, and finite numbers."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.full_size import files, graph, layouts, limits, measure
from safetensors.torch import load_file

GIB = limits.GIB


@pytest.mark.parametrize(
    ("layout", "tensors", "numbers"),
    [
        (layouts.unet, 1680, 2_567_463_684),
        (layouts.clip_l, 197, 123_060_480 + 77),
        (layouts.clip_g, 390, 694_659_841),
        (layouts.vae, 248, 83_653_863),
        (layouts.checkpoint, 2515, 3_468_837_945),
        (layouts.identitynet, 844, 1_251_014_160),
        (layouts.image_proj, 51, 81_978_624),
        (layouts.ip_adapter, 140, 340_787_200),
    ],
)
def test_layout_has_the_published_number_of_tensors_and_numbers(
    layout: Callable[[], layouts.Layout], tensors: int, numbers: int
) -> None:
    made = layout()
    assert len(made) == tensors
    assert layouts.numbers(made) == numbers


def test_identitynet_file_has_the_published_size_to_the_byte() -> None:
    layout = layouts.identitynet()
    size = len(files.header(layout, {})) + 2 * layouts.numbers(layout)
    assert size == files.PUBLISHED[files.IDENTITYNET] == 2_502_139_136


def test_checkpoint_file_differs_from_the_published_size_only_by_its_description() -> None:
    # The published file carries 37 kB of metadata (title, licence, preview) in its header.
    layout = layouts.checkpoint()
    size = len(files.header(layout, {layouts.POSITION_IDS: np.zeros((1, 77))}))
    size += 2 * layouts.numbers(layout) + 6 * prod(layout[layouts.POSITION_IDS])
    assert 0 < files.PUBLISHED[files.CHECKPOINT] - size < 40_000


def test_adapter_keys_run_over_the_odd_numbers_to_139() -> None:
    keys = layouts.ip_adapter()
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
    scale = files.scale_of("x.to_q.weight", (1280, 640))
    matrix = torch.from_numpy(np.resize(files.normal_block(0), (1280, 640))) * scale.spread
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
    assert files.DETECTOR not in files.missing(tmp_path)
    path.write_bytes(b"\0" * 1000)
    assert files.DETECTOR in files.missing(tmp_path)


def test_too_little_memory_is_refused_with_what_is_free_and_what_is_wanted() -> None:
    limits.refuse_too_little_memory(17 * GIB)
    with pytest.raises(SystemExit, match=r"^16\.0 GiB of memory are free, .* wants 17 GiB"):
        limits.refuse_too_little_memory(16 * GIB)


def test_too_little_disk_is_refused_unless_the_files_are_made_already() -> None:
    folder = Path("somewhere")
    limits.refuse_too_little_disk(14 * 10**9, 0, folder)
    limits.refuse_too_little_disk(3 * 10**9, 11 * 10**9, folder)
    with pytest.raises(SystemExit, match=r"^10\.0 GB of disk are free under somewhere.* 14\.0"):
        limits.refuse_too_little_disk(10 * 10**9, 0, folder)


def test_a_server_that_takes_too_much_memory_is_ended_with_a_reason() -> None:
    assert measure.too_much(14 * GIB, 8 * GIB) is None
    assert "used 22.5 GiB of memory; 22 GiB are allowed" in str(
        measure.too_much(GIB * 45 // 2, 8 * GIB)
    )
    assert "Only 1.0 GiB of memory were left" in str(measure.too_much(14 * GIB, GIB))


def test_available_memory_respects_the_limit_of_a_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:   25165824 kB\n")
    assert limits.available_memory(meminfo, tmp_path) == 24 * GIB
    (tmp_path / "memory.max").write_text(f"{16 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{6 * GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {2 * GIB}\n")
    assert limits.available_memory(meminfo, tmp_path) == 12 * GIB
    with pytest.raises(SystemExit, match=r"runs on Linux only"):
        limits.available_memory(tmp_path / "nowhere")


WORKFLOW: graph.Graph = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "good"}},
    "3": {"class_type": "IID_EncodeFace", "inputs": {"image": ["8", 0]}},
    "4": {"class_type": "IID_ApplyAdapter", "inputs": {"model": ["1", 0], "face_embeds": ["3", 0]}},
    "5": {
        "class_type": "IID_ApplyIdentityNet",
        "inputs": {"positive": ["2", 0], "negative": ["9", 0], "identity": ["3", 0]},
    },
    "6": {
        "class_type": "KSampler",
        "inputs": {"model": ["4", 0], "positive": ["5", 0], "negative": ["5", 1], "steps": 30},
    },
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0]}},
    "8": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
    "9": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "bad"}},
    "10": {"class_type": "PreviewImage", "inputs": {"images": ["3", 1]}},
}


def test_the_plain_workflow_is_the_same_one_with_the_apply_nodes_bypassed() -> None:
    plain = graph.without_instantid(WORKFLOW)
    assert set(plain) == {"1", "2", "6", "7", "9"}
    inputs = plain["6"]["inputs"]
    assert inputs["model"] == ["1", 0]
    assert inputs["positive"] == ["2", 0]
    assert inputs["negative"] == ["9", 0]


def test_inputs_are_replaced_by_node_class_on_a_copy() -> None:
    changed = graph.with_inputs(WORKFLOW, {"KSampler": {"steps": 2}})
    assert changed["6"]["inputs"]["steps"] == 2
    assert WORKFLOW["6"]["inputs"]["steps"] == 30
    with pytest.raises(KeyError, match="no ControlNetLoader node"):
        graph.with_inputs(WORKFLOW, {"ControlNetLoader": {"control_net_name": "x"}})
    with pytest.raises(KeyError, match="KSampler has no input"):
        graph.with_inputs(WORKFLOW, {"KSampler": {"stepz": 2}})
