"""Files from strangers and broken ones: no code runs, memory stays bounded, and a sentence says."""

from __future__ import annotations

import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from faithful_instantid.devtools.comfy_server import default_comfyui, standin_models
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import InstantIDError, WrongFileError
from faithful_instantid.instantid_core.faces import find_pack, open_analyzer
from faithful_instantid.instantid_core.host.loading import load_identitynet
from faithful_instantid.instantid_core.identity_file import load_embeddings, save_identity
from faithful_instantid.instantid_core.model_files import canonical

from ..conftest import ROOT
from .conftest import LONG, Tally
from .test_bad_input import REFUSED, judged

EMBEDDING = torch.linspace(-2, 2, 512)
Load = Callable[[Path], object]


@pytest.fixture(scope="module")
def standins() -> Path:
    return standin_models(default_comfyui(), sys.executable)


def load_and_encode(path: Path) -> object:
    return host.encode_identity(host.load_adapter(path), EMBEDDING)


def open_pack(folder: Path) -> object:
    """Open the face pack in a folder and look at one picture with it."""
    analyzer = open_analyzer(find_pack("antelopev2", [folder]), "CPU")
    return analyzer.find(np.zeros((64, 64, 3), np.uint8))


def answer(load: Load, path: Path) -> str:
    """Say what a loader made of a file: "answered", "refused", or what went wrong."""
    try:
        load(path)
    except InstantIDError as error:
        return judged(str(error))
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "answered"


def damaged(content: bytes, dice: random.Random, cuts: int, flips: int) -> list[bytes]:
    """Return copies: cut off at many places, and with one bit turned, most of them at the begin."""
    places = [0, 1, 7, 8, 9, 100, len(content) - 1]
    places += [dice.randrange(len(content)) for _ in range(cuts - len(places))]
    made = [content[:place] for place in places]
    head = min(len(content), 20_000)
    for number in range(flips):
        turned = bytearray(content)
        turned[dice.randrange(head if number % 4 else len(content))] ^= 1 << dice.randrange(8)
        made.append(bytes(turned))
    return made


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", ["ip-adapter.bin", "ip-adapter.safetensors"])
def test_a_damaged_adapter_is_refused_or_still_encodes(
    standins: Path, tmp_path: Path, tally: Tally, name: str
) -> None:
    content = (standins / "instantid" / name).read_bytes()
    cuts, flips = (400, 1200) if LONG else (25, 40)
    copies = damaged(content, random.Random(1), cuts, flips)
    check(copies, cuts, tmp_path / name, load_and_encode, tally, "adapter")


@pytest.mark.timeout(3600 if LONG else 300)
def test_a_damaged_identitynet_is_refused_or_still_loads(
    standins: Path, tmp_path: Path, tally: Tally
) -> None:
    path = standins / "controlnet" / "instantid-identitynet.safetensors"
    cuts, flips = (40, 60) if LONG else (8, 4)
    copies = damaged(path.read_bytes(), random.Random(2), cuts, flips)
    check(copies, cuts, tmp_path / path.name, load_identitynet, tally, "IdentityNet")


def test_a_damaged_identity_is_refused_or_still_loads(
    identity: Any, tmp_path: Path, tally: Tally
) -> None:
    save_identity(tmp_path / "ann.safetensors", identity)
    content = (tmp_path / "ann.safetensors").read_bytes()
    copies = damaged(content, random.Random(3), 200, 2000 if LONG else 300)
    check(copies, 200, tmp_path / "bob.safetensors", load_embeddings, tally, "identity")


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", ["glintr100.onnx", "scrfd_10g_bnkps.onnx"])
def test_a_cut_off_face_model_is_refused(
    standins: Path, tmp_path: Path, tally: Tally, name: str
) -> None:
    pack = standins / "insightface" / "models" / "antelopev2"
    for file in pack.glob("*.onnx"):
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    cuts = 60 if LONG else 15
    copies = damaged((pack / name).read_bytes(), random.Random(4), cuts, 0)
    check(copies, cuts, tmp_path / name, lambda path: open_pack(path.parent), tally, "face model")


def check(copies: list[bytes], cuts: int, path: Path, load: Load, tally: Tally, kind: str) -> None:
    """Load each copy; the first `cuts` are cut off and must be refused, the others may load."""
    wrong: list[str] = []
    for number, content in enumerate(copies):
        if path.exists():
            path.unlink()  # a mapped file is not written to
        path.write_bytes(content)
        found = answer(load, path)
        tally(f"damaged files tried: {kind}", 1)
        if found != REFUSED and (number < cuts or found != "answered"):
            wrong.append(f"copy {number} of {len(content)} bytes: {found}")
    assert not wrong, "\n" + "\n".join(wrong)


class Runs:
    """A pickle of this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "it ran")


@pytest.mark.parametrize("protocol", range(6))
def test_no_code_in_a_pickle_runs(tmp_path: Path, tally: Tally, protocol: int) -> None:
    mark = tmp_path / "mark"
    plain = pickle.dumps({"image_proj": Runs(mark)}, protocol)
    (tmp_path / "plain.bin").write_bytes(plain)
    torch.save({"image_proj": Runs(mark)}, tmp_path / "zipped.bin", pickle_protocol=protocol or 2)
    for name in ("plain.bin", "zipped.bin"):
        for load in (load_and_encode, load_embeddings, load_identitynet):
            assert answer(load, tmp_path / name) == REFUSED
            tally("pickles with code tried", 1)
    assert not mark.exists()


def test_a_zip_that_unpacks_to_more_than_it_is_is_not_unpacked(
    tmp_path: Path, tally: Tally
) -> None:
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(1 << 28))
        archive.writestr("bomb/version", "3\n")
    tally("zip bombs tried", 1)
    with pytest.raises(WrongFileError, match=r"a zip that unpacks to 268,435,458 bytes"):
        host.load_adapter(path)


LYING_HEADERS: dict[str, str] = {
    "an offset beyond the file": '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999]}}',
    "a shape beyond its bytes": '{"a":{"dtype":"F32","shape":[1048576,1048576],'
    '"data_offsets":[0,16]}}',
    "an overflowing shape": '{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],'
    '"data_offsets":[0,16]}}',
    "a negative shape": '{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}',
    "an unknown type": '{"a":{"dtype":"F99","shape":[4],"data_offsets":[0,16]}}',
    "no object": "[1, 2, 3]",
    "deep nesting": "[" * 50_000,
    "overlapping tensors": '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
    '"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
}


@pytest.mark.parametrize("lie", LYING_HEADERS)
def test_a_header_that_lies_is_refused(tmp_path: Path, tally: Tally, lie: str) -> None:
    header = LYING_HEADERS[lie].encode()
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    for load in (load_and_encode, load_embeddings, load_identitynet):
        assert answer(load, path) == REFUSED
        tally("lying headers tried", 1)


def test_tensors_that_claim_more_than_they_hold_are_refused(
    adapter_weights: dict[str, dict[str, torch.Tensor]], tmp_path: Path, tally: Tally
) -> None:
    forged = {part: dict(tensors) for part, tensors in adapter_weights.items()}
    for fake in (
        torch.zeros(1, dtype=torch.float32).expand(1 << 20, 1 << 20),
        torch.zeros(64, 64).to_sparse(),
        torch.zeros(64, 64, dtype=torch.int64),
        torch.zeros(3),
        torch.zeros(()),
    ):
        forged["ip_adapter"]["1.to_k_ip.weight"] = fake
        torch.save(forged, tmp_path / "forged.bin")
        assert answer(load_and_encode, tmp_path / "forged.bin") == REFUSED
        tally("forged tensors tried", 1)


@pytest.mark.parametrize(
    "tensors",
    [
        {"face_embedding": torch.zeros(4096)},
        {"face_embedding": torch.zeros(512), "negative_embedding": torch.zeros(2, 512)},
        {"face_embedding": torch.full((512,), float("nan")), "negative_embedding": EMBEDDING},
        {"face_embedding": EMBEDDING.half(), "negative_embedding": EMBEDDING.half()},
        {"face_embedding": torch.zeros(1 << 20), "negative_embedding": torch.zeros(1 << 20)},
        {"face_embedding": torch.zeros(0, 512), "negative_embedding": torch.zeros(0, 512)},
    ],
)
def test_identity_files_with_other_tensors_are_refused(
    tmp_path: Path, tally: Tally, tensors: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "x.safetensors"
    metadata = {"format": "faithful-instantid identity", "version": "1"}
    safetensors.torch.save_file(tensors, path, metadata)
    tally("forged tensors tried", 1)
    assert answer(load_embeddings, path) == REFUSED


NAMES = {
    "control characters": "a\nb\x1b[31m\u202e",
    "a million characters": "x" * 1_000_000,
    "code": "__import__('os').system('x')",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_tensors_do_not_flood_the_message(
    adapter_weights: dict[str, dict[str, torch.Tensor]], tmp_path: Path, tally: Tally, name: str
) -> None:
    odd = NAMES[name]
    whole = canonical(adapter_weights)
    forged = torch.zeros(4, dtype=torch.int64)
    torch.save({odd: torch.zeros(4)}, tmp_path / "strange.bin")
    torch.save({**whole, odd: forged}, tmp_path / "adapter.bin")
    torch.save({**adapter_weights, "image_proj": {}, "more": {odd: forged}}, tmp_path / "half.bin")
    for file in ("strange.bin", "adapter.bin", "half.bin"):
        assert answer(load_and_encode, tmp_path / file) == REFUSED
        tally("files with names of tensors that are none", 1)
    if len(odd) < 10_000:
        metadata = {"format": "faithful-instantid identity", "version": odd * 9000}
        safetensors.torch.save_file({"face_embedding": EMBEDDING}, tmp_path / "v", metadata)
        assert answer(load_embeddings, tmp_path / "v") == REFUSED
        many = {f"{odd}{number}": torch.zeros(1) for number in range(4000)}
        safetensors.torch.save_file(many, tmp_path / "k", {**metadata, "version": "1"})
        assert answer(load_embeddings, tmp_path / "k") == REFUSED
        tally("files with names of tensors that are none", 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are Unix's")
def test_pipes_devices_and_loops_are_not_waited_for(tmp_path: Path, tally: Tally) -> None:
    pack = tmp_path / "models" / "antelopev2"
    pack.mkdir(parents=True)
    os.mkfifo(pack / "pipe.onnx")
    (pack / "device.onnx").symlink_to("/dev/zero")
    (pack / "loop").symlink_to(tmp_path)
    (pack / "nowhere.onnx").symlink_to(tmp_path / "gone")
    assert answer(open_pack, tmp_path) == REFUSED
    os.mkfifo(tmp_path / "pipe.bin")
    assert answer(load_and_encode, tmp_path / "pipe.bin") == REFUSED
    assert answer(load_embeddings, tmp_path / "pipe.bin") == REFUSED
    tally("pipes, devices and broken links tried", 6)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on file sizes is Unix's")
def test_on_a_full_disk_nothing_is_left_behind(identity: Any, tmp_path: Path, tally: Tally) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(InstantIDError, match=r"could not be saved .* nothing was left behind"):
            save_identity(tmp_path / "ann.safetensors", identity)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    tally("writes to a full disk", 1)
    assert list(tmp_path.iterdir()) == []


PEAK = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("conftest", sys.argv[2])
module = importlib.util.module_from_spec(spec)
sys.argv = ["x", "--cpu"]
spec.loader.exec_module(module)
import comfy.options
comfy.options.enable_args_parsing()
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
{imports}
before = peak()
{work}
print((peak() - before) // 1024)
"""
DRAWING = {
    "imports": """
from faithful_instantid.instantid_core.fitting import Fit, standard_face
from faithful_instantid.instantid_core.host.hints import drawn
from faithful_instantid.instantid_core.regions import FaceRegion
""",
    "work": """
picture = drawn(standard_face(), 8192, 8192, Fit.CROP)
del picture
mask = FaceRegion(standard_face(), Fit.CROP).render(8192, 8192)
""",
}
LOOKING = {
    "imports": """
import pathlib, torch
from faithful_instantid.instantid_core.faces import Pick, find_pack, open_analyzer
from faithful_instantid.instantid_core.faces.finding import find_keypoints
analyzer = open_analyzer(find_pack("antelopev2", [pathlib.Path(FACES)]), "CPU")
def look(count, side):
    picture = torch.full((1, 1, 1, 1), 0.5).expand(count, side, side, 3)
    return find_keypoints(analyzer, picture, Pick(), on_missing="blank")
look(1, 640)
""",
    "work": "look(1, 8192)",
}
MANY = {**LOOKING, "work": "look(4096, 8)"}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which is Linux's")
@pytest.mark.parametrize(
    ("what", "program", "most"),
    # As floats a picture of 8192 pixels is 768 MiB, as bytes 192; a mask is 256 MiB.
    [
        ("keypoints and a mask of 8192 pixels", DRAWING, 1536),
        ("looking at a photo of 8192 pixels", LOOKING, 2560),
        ("looking at 4096 photos of 8 pixels", MANY, 1536),
    ],
)
def test_large_pictures_and_batches_take_little_more_than_they_are(
    standins: Path, tally: Tally, what: str, program: dict[str, str], most: int
) -> None:
    conftest = ROOT / "tests" / "conftest.py"
    imports = program["imports"].replace("FACES", repr(str(standins / "insightface")))
    code = PEAK.replace("{imports}", imports).replace("{work}", program["work"])
    command = [sys.executable, "-c", code, os.environ["COMFYUI_PATH"], str(conftest)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    peak = int(done.stdout.split()[-1])
    tally(f"MiB at most for {what}", peak)
    assert 64 < peak < most
