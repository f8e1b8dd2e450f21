"""Every file of the adapter in the wild loads; every wrong file is called by its name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.devtools import tiny_adapter
from faithful_instantid.instantid_core import checkpoint
from faithful_instantid.instantid_core.adapter import AdapterModule, AdapterSize
from faithful_instantid.instantid_core.errors import MissingFileError, WrongFileError
from faithful_instantid.instantid_core.resampler import ResamplerSize
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
WANTED = "Wanted: the InstantID adapter, ip-adapter.bin of InstantX/InstantID on Hugging Face"
SMALL = AdapterSize(
    ResamplerSize(width=128, depth=2, queries=4, inner=64, hidden=256, output_width=32),
    (8,) * 70,
)


def small_adapter(dtype: torch.dtype = torch.float32) -> dict[str, Tensors]:
    """An adapter file with all the tensors of the real one, each of them small."""
    module = AdapterModule(SMALL, torch.nn, dtype=dtype)
    torch.nn.init.normal_(module.image_proj.latents)
    return {
        "image_proj": {k: v.detach().clone() for k, v in module.image_proj.state_dict().items()},
        "ip_adapter": {k: v.detach().clone() for k, v in module.ip_adapter.state_dict().items()},
    }


def flat(nested: Mapping[str, Tensors]) -> Tensors:
    return {f"{part}.{key}": x for part, keys in nested.items() for key, x in keys.items()}


def shaped(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


Writer = Callable[[Path, dict[str, Tensors]], None]
WRITERS: dict[str, Writer] = {
    "a.bin": lambda path, nested: torch.save(nested, path),
    "old.bin": lambda path, nested: torch.save(nested, path, _use_new_zipfile_serialization=False),
    "flat.bin": lambda path, nested: torch.save(flat(nested), path),
    "flat.safetensors": lambda path, nested: save_file(flat(nested), path),
    # The name says nothing: the content does.
    "safetensors.bin": lambda path, nested: save_file(flat(nested), path),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_and_dtype_of_the_adapter_is_read_alike(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    nested = small_adapter(dtype)
    WRITERS[name](tmp_path / name, nested)
    found = checkpoint.read_adapter(tmp_path / name)
    wanted = flat(nested)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert all(x.dtype == dtype for x in found.values())
    assert checkpoint.measure(found) == SMALL


def test_a_safetensors_file_is_known_whatever_the_length_of_its_header_is(tmp_path: Path) -> None:
    """That length stands first, and one byte of it may be what a pickle begins with."""
    tensors = flat(small_adapter())
    first_bytes: set[int] = set()
    for padding in range(0, 256, 8):
        save_file(tensors, tmp_path / "a.safetensors", {"note": "x" * padding})
        first_bytes.add((tmp_path / "a.safetensors").read_bytes()[0])
        assert checkpoint.read_adapter(tmp_path / "a.safetensors").keys() == tensors.keys()
    assert 0x80 in first_bytes


def test_the_tiny_adapter_and_the_published_one_are_measured_from_their_shapes() -> None:
    for size in (tiny_adapter.SIZE, AdapterSize(ResamplerSize(), (640,) * 8 + (1280,) * 62)):
        module = AdapterModule(size, torch.nn, device=torch.device("meta"))
        assert checkpoint.measure(module.state_dict()) == size


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingFileError, match=r"There is no file .*nowhere\.bin\. " + WANTED):
        checkpoint.read_adapter("nowhere.bin")


CROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"
IPA = {"ip_adapter.1.to_k_ip.weight": (640, 2048), "ip_adapter.1.to_v_ip.weight": (640, 2048)}
WRONG: dict[str, tuple[dict[str, tuple[int, ...]], str, str]] = {
    "an IP-Adapter for SD1.5": (
        {"image_proj.proj.weight": (8, 8), "ip_adapter.1.to_k_ip.weight": (320, 768)},
        r"is an IP-Adapter \(SD1\.5\)",
        "models/ipadapter",
    ),
    "an IP-Adapter Plus": (
        {"image_proj.latents": (1, 16, 8), "image_proj.proj_in.weight": (8, 1280), **IPA},
        r"is an IP-Adapter Plus \(SDXL\): it takes image features of width 1280",
        "models/ipadapter",
    ),
    "FaceID": (
        {"image_proj.proj.0.weight": (8, 512), "ip_adapter.0.to_q_lora.down.weight": (4, 4), **IPA},
        r"is an IP-Adapter FaceID \(SDXL\)",
        "models/ipadapter",
    ),
    "FaceID Plus": (
        {"image_proj.proj.0.weight": (8, 512), "image_proj.perceiver_resampler.proj_in.bias": (8,)},
        r"is an IP-Adapter FaceID",
        "models/ipadapter",
    ),
    "FaceID Portrait": (
        {"image_proj.proj.0.weight": (8, 512), "image_proj.norm.weight": (2048,), **IPA},
        r"is an IP-Adapter FaceID \(SDXL\)",
        "models/ipadapter",
    ),
    "PuLID for Flux": (
        {"pulid_encoder.latents": (1, 32, 8), "pulid_ca.0.norm1.weight": (8,)},
        "is a PuLID adapter",
        "models/pulid",
    ),
    "PuLID": (
        {"id_adapter.proj_out": (8, 8), "id_adapter_attn_layers.0.id_to_k.weight": (640, 2048)},
        "is a PuLID adapter",
        "models/pulid",
    ),
    "a LoRA of kohya": (
        {"lora_unet_mid_block.lora_up.weight": (8, 4), "lora_unet_mid_block.alpha": ()},
        "is a LoRA",
        "models/loras",
    ),
    "a LoRA of diffusers": (
        {"unet.mid_block.attentions.0.to_q.lora_A.weight": (4, 8)},
        "is a LoRA",
        "models/loras",
    ),
    "a LoRA of an older diffusers": (
        {"unet.mid_block.attentions.0.attn2.processor.to_k_lora.down.weight": (4, 8)},
        "is a LoRA",
        "models/loras",
    ),
    "a LoHa": (
        {"lora_unet_mid_block.hada_w1_a": (8, 4), "lora_unet_mid_block.alpha": ()},
        "is a LoRA",
        "models/loras",
    ),
    "a LoKr": ({"lora_unet_mid_block.lokr_w1": (8, 4)}, "is a LoRA", "models/loras"),
    "an SDXL ControlNet": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), CROSS: (640, 2048)},
        r"is an SDXL ControlNet \(IdentityNet has this structure\)",
        "models/controlnet",
    ),
    "an SD1.5 ControlNet": (
        {"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3), CROSS: (320, 768)},
        r"is a ControlNet \(SD1\.5\)",
        "models/controlnet",
    ),
    "an SDXL ControlNet of the other layout": (
        {
            "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
            "control_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
        },
        r"is an SDXL ControlNet \(IdentityNet has this structure\)",
        "models/controlnet",
    ),
    "a checkpoint": (
        {"model.diffusion_model.input_blocks.0.0.weight": (8, 4), "first_stage_model.x": (1,)},
        "is a checkpoint",
        "models/checkpoints",
    ),
    "a UNet alone": (
        {"down_blocks.0.resnets.0.conv1.weight": (8, 8), "conv_in.weight": (8, 4)},
        "is a diffusion model",
        "models/diffusion_models",
    ),
    "something else": ({"a": (1,), "b": (1,)}, r"unknown kind \(2 tensors, such as a, b\)", ""),
}


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_model_file_is_called_by_its_name_and_shown_its_place(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    shapes, name, place = WRONG[kind]
    path = tmp_path / f"file.{suffix}"
    if suffix == "bin":
        torch.save(shaped(shapes), path)
    else:
        save_file(shaped(shapes), path)
    with pytest.raises(WrongFileError, match=f"^file.{suffix} .*{name}") as caught:
        checkpoint.read_adapter(path)
    assert WANTED in str(caught.value) and place in str(caught.value)


def test_a_state_dict_within_a_training_file_is_what_counts(tmp_path: Path) -> None:
    shapes, name, _ = WRONG["a checkpoint"]
    torch.save({"epoch": 3, "state_dict": shaped(shapes)}, tmp_path / "model.ckpt")
    with pytest.raises(WrongFileError, match=name):
        checkpoint.read_adapter(tmp_path / "model.ckpt")
    nested = small_adapter()
    torch.save({"global_step": 9, "state_dict": nested}, tmp_path / "trained.bin")
    assert checkpoint.read_adapter(tmp_path / "trained.bin").keys() == flat(nested).keys()


def test_an_adapter_with_layers_missing_says_how_many(tmp_path: Path) -> None:
    tensors = flat(small_adapter())
    for number in range(121, 140, 2):
        del tensors[f"ip_adapter.{number}.to_v_ip.weight"]
    save_file(tensors, tmp_path / "part.safetensors")
    with pytest.raises(WrongFileError, match=r"10 of \d+ tensors missing.*ip_adapter\.121\.to_v"):
        checkpoint.read_adapter(tmp_path / "part.safetensors")


@pytest.mark.parametrize("name", ["a.bin", "old.bin", "flat.safetensors", "safetensors.bin"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_a_download_that_was_cut_off_is_recognised(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    WRITERS[name](path, small_adapter())
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(WrongFileError, match="ends too early or is damaged .*download it again"):
        checkpoint.read_adapter(path)


class Malicious:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["torch", "old torch", "beside weights", "plain"])
def test_code_in_a_pickle_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Also where the environment turns off torch's own caution, as its older versions had none."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, trace = tmp_path / "evil.bin", tmp_path / "trace"
    content: dict[str, Any] = {"image_proj": Malicious(f"touch {trace}")}
    if form == "beside weights":
        content = {**small_adapter(), **content}
    if "torch" in form or "weights" in form:
        torch.save(content, path, _use_new_zipfile_serialization=form != "old torch")
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(WrongFileError, match=r"evil\.bin is a pickle with code in it.*not run"):
        checkpoint.read_adapter(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page saved under this name"),
        (b"\n  <html lang='en'>", "a web page saved under this name"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer"),
        (b"", "an empty file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"hello, world, this is no model at all", "not a model file: 37 bytes"),
    ],
)
def test_a_file_that_is_no_model_at_all_is_called_by_its_name(
    tmp_path: Path, content: bytes, text: str
) -> None:
    path = tmp_path / "ip-adapter.bin"
    path.write_bytes(content)
    with pytest.raises(WrongFileError, match=rf"^ip-adapter\.bin is {text}") as caught:
        checkpoint.read_adapter(path)
    assert WANTED in str(caught.value)


def test_an_onnx_file_is_sent_to_insightface(tmp_path: Path) -> None:
    path = tmp_path / "glintr100.onnx"
    path.write_bytes(b"\x08\x06\x12\x07pytorch")
    with pytest.raises(WrongFileError, match="is an ONNX network .*models/insightface"):
        checkpoint.read_adapter(path)


@pytest.mark.parametrize("name", ["unet.engine", "engine.bin"])
def test_a_tensorrt_engine_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"ftrt" + bytes(200))
    with pytest.raises(WrongFileError, match=r"is a TensorRT engine, .* into models/tensorrt"):
        checkpoint.read_adapter(tmp_path / name)
