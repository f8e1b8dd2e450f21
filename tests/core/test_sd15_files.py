"""SD1.5's adapter in its two files: either finds the other, and what is not theirs is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core import checkpoint
from faithful_instantid.instantid_core.errors import MissingFileError, WrongFileError
from faithful_instantid.instantid_core.identity import Identity, IdentitySide
from faithful_instantid.instantid_core.identity_file import load_embeddings, save_identity
from faithful_instantid.instantid_core.images import ChannelOrder
from faithful_instantid.instantid_core.resampler import Resampler, ResamplerSize
from faithful_instantid.instantid_core.unet_layout import SD15, SDXL, file_number
from faithful_instantid.instantid_core.weighting import LayerWeights, slot_weights
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ..conftest import DEVTOOLS
from .test_checkpoint import Malicious, flat, small_adapter

Tensors = dict[str, torch.Tensor]
SIZE = ResamplerSize(width=128, depth=2, queries=4, inner=64, hidden=256, output_width=32)
# Diffusers' names in the order of its `attn_processors`, written out.
NAMES = [
    *(f"down_blocks.{b}.attentions.{i}" for b in range(3) for i in range(2)),
    *(f"up_blocks.{b}.attentions.{i}" for b in (1, 2, 3) for i in range(3)),
    "mid_block.attentions.0",
]


def image_proj() -> Tensors:
    module = Resampler(SIZE, torch.nn)
    torch.nn.init.normal_(module.latents)
    return {key: value.detach().clone() for key, value in module.state_dict().items()}


def layers() -> Tensors:
    """Each layer with a value of its own: its place in NAMES, and half more for V."""
    return {
        f"{name}.transformer_blocks.0.attn2.processor.to_{part}_ip.weight": torch.full(
            (8 + place, 32), place + more
        )
        for place, name in enumerate(NAMES)
        for part, more in (("k", 0.0), ("v", 0.5))
    }


def save(folder: Path, **more: Any) -> tuple[Path, Path]:
    """Write both files as they are published; more: other contents, by `image_proj`, `layers`."""
    paths = folder / "image_proj.ckpt", folder / "ip-state.ckpt"
    torch.save({"state_dict": more.get("image_proj", image_proj())}, paths[0])
    torch.save({"state_dict": more.get("layers", layers())}, paths[1])
    return paths


def test_the_slot_table_has_16_slots_in_the_order_of_diffusers() -> None:
    numbered = {file_number(place): slot for place, slot in enumerate(SD15.slots)}
    assert list(numbered) == list(range(1, 32, 2))
    downs = [numbered[n] for n in (1, 3, 5, 7, 9, 11)]
    assert downs == [("input", n, 0) for n in (1, 2, 4, 5, 7, 8)]
    assert [numbered[n] for n in range(13, 30, 2)] == [("output", n, 0) for n in range(3, 12)]
    assert numbered[31] == ("middle", 0, 0)


@pytest.mark.parametrize("picked", [0, 1])
def test_either_file_brings_the_whole_adapter(tmp_path: Path, picked: int) -> None:
    projection = image_proj()
    found = checkpoint.read_adapter(save(tmp_path, image_proj=projection)[picked])
    for place in range(16):
        for part, more in (("k", 0.0), ("v", 0.5)):
            own = found.pop(f"ip_adapter.{2 * place + 1}.to_{part}_ip.weight")
            assert own.shape == (8 + place, 32) and bool((own == place + more).all())
    assert found.keys() == {f"image_proj.{key}" for key in projection}
    assert all(torch.equal(found[f"image_proj.{key}"], projection[key]) for key in projection)


def test_it_is_measured_as_sd15s(tmp_path: Path) -> None:
    size = checkpoint.measure(checkpoint.read_adapter(save(tmp_path)[0]))
    assert size.family is SD15 and size.resampler == SIZE
    assert size.channels == tuple(range(8, 24))
    assert checkpoint.measure(flat(small_adapter())).family is SDXL


def parallel(tensors: Tensors) -> Tensors:
    return {f"module.{key}": value for key, value in tensors.items()}


def whole_unet() -> Tensors:
    """The layers with some of the UNet around them, as a training leaves them."""
    others = {
        "conv_in.weight": torch.zeros(8, 4, 3, 3),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": torch.zeros(8, 32),
        "time_embedding.linear_1.bias": torch.zeros(4),
    }
    return others | layers()


OTHER_FORMS: dict[str, dict[str, Callable[[], Tensors]]] = {
    "parallel": {
        "image_proj": lambda: parallel(image_proj()),
        "layers": lambda: parallel(layers()),
    },
    "whole UNet": {"layers": whole_unet},
    "whole UNet, parallel": {"layers": lambda: parallel(whole_unet())},
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_what_a_training_leaves_around_is_left_out(tmp_path: Path, form: str) -> None:
    made = {part: make() for part, make in OTHER_FORMS[form].items()}
    found = checkpoint.read_adapter(save(tmp_path, **made)[1])
    plain = tmp_path / "plain"
    plain.mkdir()
    assert found.keys() == checkpoint.read_adapter(save(plain)[1]).keys()


def test_the_other_file_is_told_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    projection, state = save(tmp_path)
    save_file(layers(), tmp_path / "half of something.safetensors")
    state.unlink()
    torch.save(small_adapter(), tmp_path / "ip-adapter.bin")
    (tmp_path / "notes.txt").write_text("layers")
    (tmp_path / "folder.ckpt").mkdir()
    assert len(checkpoint.read_adapter(projection)) == len(flat(small_adapter())) - 2 * (70 - 16)
    assert len(checkpoint.read_adapter(tmp_path / "ip-adapter.bin")) == len(flat(small_adapter()))


def refused(action: Callable[[], Any]) -> str:
    with pytest.raises(WrongFileError) as caught:
        action()
    return str(caught.value)


def test_a_half_that_is_missing_is_named(tmp_path: Path) -> None:
    projection, state = save(tmp_path)
    state.unlink()
    text = refused(lambda: checkpoint.read_adapter(projection))
    assert text.startswith(
        "image_proj.ckpt is one of the two files of the SD1.5 adapter, the one that turns a face "
        "into tokens (image_proj.ckpt). The other one is missing, the one with the layers for the "
        f"UNet (ip-state.ckpt): no file in {tmp_path} holds it. Put it there, under any name."
    )
    state.write_bytes(b"PK\x03\x04 cut off")
    assert "Beside it ip-state.ckpt cannot be read." in refused(
        lambda: checkpoint.read_adapter(projection)
    )


def test_several_other_halves_are_not_guessed_between(tmp_path: Path) -> None:
    projection, state = save(tmp_path)
    (tmp_path / "older.ckpt").write_bytes(state.read_bytes())
    text = refused(lambda: checkpoint.read_adapter(projection))
    assert "several with the other half: ip-state.ckpt, older.ckpt. Leave the one there" in text
    assert "devtools/merge_sd15.py" in text


def test_code_in_either_file_is_never_run(tmp_path: Path) -> None:
    projection, state = save(tmp_path)
    trace = tmp_path / "trace"
    torch.save({"state_dict": {**layers(), "x": Malicious(f"touch {trace}")}}, state)
    assert "it was not run" in refused(lambda: checkpoint.read_adapter(state))
    assert "ip-state.ckpt cannot be read" in refused(lambda: checkpoint.read_adapter(projection))
    assert not trace.exists()


def test_layers_that_are_missing_are_counted(tmp_path: Path) -> None:
    part = layers()
    for name in list(part)[-4:]:
        del part[name]
    text = refused(lambda: checkpoint.read_adapter(save(tmp_path, layers=part)[0]))
    assert "with 4 of" in text and "the first is ip_adapter.29.to_k_ip.weight" in text


def test_a_file_that_fits_neither_layout_is_refused_with_its_first_ten_keys(
    tmp_path: Path,
) -> None:
    foreign = {
        f"up_blocks.0.attentions.{n}.transformer_blocks.0.attn2.processor.to_k_ip.weight": (
            torch.zeros(8, 32)
        )
        for n in range(12)
    }
    text = refused(lambda: checkpoint.read_adapter(save(tmp_path, layers=foreign)[1]))
    assert "layers of an adapter that fit neither SDXL's nor SD1.5's (12 tensors, such as " in text
    assert all(key in text for key in list(foreign)[:10])
    assert not any(key in text for key in list(foreign)[10:])
    torch.save({f"b{11 - n:02}": torch.zeros(1) for n in range(12)}, tmp_path / "x.ckpt")
    text = refused(lambda: checkpoint.read_adapter(tmp_path / "x.ckpt"))
    assert "such as b11, b10, b09, b08, b07, b06, b05, b04, b03, b02)" in text


def test_an_image_projection_of_another_kind_is_no_half(tmp_path: Path) -> None:
    other = image_proj()
    other["proj_in.weight"] = torch.zeros(128, 1280)
    text = refused(lambda: checkpoint.read_adapter(save(tmp_path, image_proj=other)[0]))
    assert "unknown kind" in text and "latents" in text


# The command that joins them.


def merge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEVTOOLS / "merge_sd15.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_the_command_writes_one_file_that_is_the_same_adapter(tmp_path: Path) -> None:
    projection, state = save(tmp_path, layers=whole_unet())
    wanted = checkpoint.read_adapter(projection)
    out = tmp_path / "one" / "sd15-instantid.safetensors"
    out.parent.mkdir()
    done = merge(projection, state, out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    found = checkpoint.read_adapter(out)
    assert found.keys() == wanted.keys() == load_file(out).keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert os.listdir(out.parent) == [out.name]

    before = out.read_bytes()
    done = merge(projection, state, out)
    assert done.returncode == 1 and "is there already. Give --replace" in done.stderr
    out.write_bytes(b"something else")
    assert merge(state, projection, out, "--replace").returncode == 0  # in either order
    assert out.read_bytes() == before


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path: Path) -> None:
    projection, state = save(tmp_path)
    out = tmp_path / "out.safetensors"
    for arguments, text in (
        ((projection, state, tmp_path / "out.bin"), "is not named .safetensors"),
        ((projection, projection, out), "are not the two halves of the SD1.5 adapter"),
        ((projection, tmp_path / "gone.ckpt", out), "There is no file"),
    ):
        done = merge(*arguments)
        assert done.returncode == 1 and text in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["image_proj.ckpt", "ip-state.ckpt"]
    with pytest.raises(MissingFileError):
        checkpoint.read_halves(projection, tmp_path / "gone.ckpt")


# Identity files.


def face(family: Any) -> Identity:
    side = IdentitySide(torch.zeros(1, 16, 8), torch.zeros(4))
    embedding = torch.randn(512, generator=torch.Generator().manual_seed(1))
    return Identity(embedding, torch.zeros(512), side, side, family)


def test_an_identity_file_remembers_family_and_order_of_channels(tmp_path: Path) -> None:
    assert face(SD15).channel_order is ChannelOrder.RGB
    assert face(SDXL).channel_order is ChannelOrder.BGR
    path = tmp_path / "anna.safetensors"
    save_identity(path, face(SD15), "anna")
    with safe_open(str(path), "pt") as file:
        marks = {"version": "2", "name": "anna", "family": "SD1.5", "channel_order": "rgb"}
        assert file.metadata() == {"format": "faithful-instantid identity", **marks}
    found = load_embeddings(path)
    assert found.family is SD15 and torch.equal(found.face_embedding, face(SD15).face_embedding)


@pytest.mark.parametrize(
    "marks", [{"family": "SD4", "channel_order": "rgb"}, {"family": "SD1.5"}, {}]
)
def test_a_face_of_an_unknown_family_is_refused(tmp_path: Path, marks: dict[str, str]) -> None:
    tensors = {"face_embedding": torch.ones(512), "negative_embedding": torch.zeros(512)}
    metadata = {"format": "faithful-instantid identity", "version": "2", **marks}
    save_file(tensors, str(tmp_path / "x.safetensors"), metadata)
    text = refused(lambda: load_embeddings(tmp_path / "x.safetensors"))
    assert "Wanted one of: SDXL in bgr, SD1.5 in rgb." in text


# Layer weights.


def test_sixteen_layers_share_eleven_factors_in_their_order() -> None:
    assert slot_weights(0.8, None, SD15) == (0.8,) * 16
    weights = LayerWeights(tuple(map(float, range(1, 12))))
    down, up, middle = [1, 1, 2, 3, 3, 4], [6, 6, 7, 8, 8, 9, 10, 10, 11], [5]
    assert list(slot_weights(1.0, weights, SD15)) == [*down, *up, *middle]
    parts = LayerWeights.of_parts(0.25, 0.5, 0.75)
    assert slot_weights(1.0, parts, SD15) == (0.25,) * 6 + (0.75,) * 9 + (0.5,)
