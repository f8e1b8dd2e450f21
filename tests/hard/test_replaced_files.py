"""Files that are replaced, deleted or unreadable at the worst moment: a sentence, nothing mixed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from faithful_instantid.devtools.comfy_server import Prompt, Server, default_comfyui, standin_models
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import InstantIDError
from faithful_instantid.instantid_core.faces import find_pack, open_analyzer
from faithful_instantid.instantid_core.host.loading import load_identitynet
from faithful_instantid.instantid_core.identity_file import load_embeddings, save_identity
from faithful_instantid.nodes.folders import IDENTITIES

from ..server.conftest import Started, node_id
from .conftest import Tally
from .driving import OURS, digest, ended, fresh, outcome, portrait, wait_until
from .test_api_input import node
from .test_bad_input import REFUSED, judged
from .test_face_model_files import POINTS, every
from .test_faults import ADAPTER, DETECTOR, RECOGNISER, long_sampling, queue_until

EMBEDDING = torch.linspace(-2, 2, 512)
PICTURES = [
    np.ascontiguousarray(draw_faces([DrawnFace(x, 90, 120, person=x % 8)], 2 * x, 180)[..., ::-1])
    for x in (80, 90, 700)
]
NOBODY = 65534  # the user who may read only what everybody may


@pytest.fixture
def files(tmp_path: Path, identity: Any) -> Path:
    """A folder with a file of every kind that this pack reads."""
    standins = standin_models(default_comfyui(), sys.executable)
    for name in ("ip-adapter.bin", "ip-adapter.safetensors"):
        shutil.copyfile(standins / "instantid" / name, tmp_path / name)
    net = "instantid-identitynet.safetensors"
    shutil.copyfile(standins / "controlnet" / net, tmp_path / net)
    shutil.copytree(standins / "insightface/models/antelopev2", tmp_path / "faces/antelopev2")
    save_identity(tmp_path / "ann.safetensors", identity)
    return tmp_path


def encoded(path: Path) -> object:
    return host.encode_identity(host.load_adapter(path), EMBEDDING)


def opened(path: Path) -> object:
    return open_analyzer(find_pack("antelopev2", [path.parent.parent]), "CPU")


READERS: dict[str, Callable[[Path], object]] = {
    "ip-adapter.bin": encoded,
    "ip-adapter.safetensors": encoded,
    "instantid-identitynet.safetensors": load_identitynet,
    "ann.safetensors": load_embeddings,
    "faces/antelopev2/glintr100.onnx": opened,
    "faces/antelopev2/scrfd_10g_bnkps.onnx": opened,
}


@contextlib.contextmanager
def a_folder(path: Path) -> Iterator[None]:
    path.unlink()
    path.mkdir()
    yield


@contextlib.contextmanager
def no_permission(path: Path) -> Iterator[None]:
    """Take everybody's permission; root, who needs none, becomes somebody else for a while."""
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions of this kind are Unix's")
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o555 != 0o555:
            folder.chmod(0o755)
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError):
            path.open("rb")
        yield
    finally:
        os.seteuid(user)


@contextlib.contextmanager
def a_failing_disk(path: Path) -> Iterator[None]:
    """Put a file there whose first byte cannot be read, whoever asks."""
    failing = Path("/proc/self/mem")
    if not failing.is_file():
        pytest.skip("only Linux has a file that fails like that")
    path.unlink()
    path.symlink_to(failing)
    with pytest.raises(OSError, match="Input/output error"), path.open("rb") as file:
        file.read(1)
    yield


def nothing_there(path: Path) -> Any:
    path.unlink()
    return contextlib.nullcontext()


WAYS = {
    "a folder in its place": a_folder,
    "no permission": no_permission,
    "a failing disk": a_failing_disk,
    "deleted": nothing_there,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READERS)
def test_a_file_that_cannot_be_read_is_named_in_a_sentence(
    files: Path, tally: Tally, name: str, way: str
) -> None:
    path = files / name
    READERS[name](path)  # while it is whole, it is read
    with WAYS[way](path), pytest.raises(InstantIDError) as caught:
        READERS[name](path)
    tally("files that cannot be read", 1)
    assert judged(str(caught.value)) == REFUSED
    assert path.name in str(caught.value)


def garbage(path: Path) -> None:
    """Put something else in a file's place, as a download that ends with a renaming does."""
    other = path.with_name("other")
    other.write_bytes(b"something else")
    other.replace(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are in use")
@pytest.mark.parametrize("change", [garbage, Path.unlink], ids=["replaced", "deleted"])
@pytest.mark.parametrize("name", ["ip-adapter.bin", "ip-adapter.safetensors"])
def test_an_adapter_that_is_loaded_stays_what_it_was(
    files: Path, tally: Tally, name: str, change: Callable[[Path], Any]
) -> None:
    untouched = host.encode_identity(host.load_adapter(files / name), EMBEDDING)
    adapter = host.load_adapter(files / name)  # its weights are still on the disk
    change(files / name)
    found = host.encode_identity(adapter, EMBEDDING)
    tally("files replaced or deleted while loaded", 1)
    for side in ("positive", "negative"):
        before, now = getattr(untouched, side), getattr(found, side)
        assert torch.equal(before.tokens, now.tokens)
        assert torch.equal(before.kv, now.kv)
    with pytest.raises(InstantIDError, match="ip-adapter"):
        host.load_adapter(files / name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are in use")
@pytest.mark.parametrize("change", [garbage, Path.unlink], ids=["replaced", "deleted"])
def test_an_identitynet_that_is_loaded_stays_what_it_was(
    files: Path, tally: Tally, change: Callable[[Path], Any]
) -> None:
    path = files / "instantid-identitynet.safetensors"
    whole = {k: v.clone() for k, v in load_identitynet(path).control_model.state_dict().items()}
    loaded = load_identitynet(path)
    change(path)
    tally("files replaced or deleted while loaded", 1)
    now = loaded.control_model.state_dict()
    assert now.keys() == whole.keys()
    assert all(torch.equal(now[key], whole[key]) for key in whole)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are in use")
@pytest.mark.parametrize("change", [garbage, Path.unlink], ids=["replaced", "deleted"])
def test_an_analyzer_that_is_open_stays_what_it_was(
    files: Path, tally: Tally, change: Callable[[Path], Any]
) -> None:
    def seen(analyzer: Any) -> list[Any]:
        faces = [(picture, face) for picture in PICTURES for face in analyzer.find(picture).faces]
        shapes = [len(analyzer.get(picture)) for picture in PICTURES]
        return [*shapes, *(analyzer.embed(*one).tobytes() for one in faces)]

    folder = files / "faces" / "antelopev2"
    before = seen(open_analyzer(find_pack("antelopev2", [files / "faces"]), "CPU"))
    analyzer = open_analyzer(find_pack("antelopev2", [files / "faces"]), "CPU")
    for file in sorted(folder.glob("*.onnx")):
        change(file)
        tally("files replaced or deleted while loaded", 1)
    assert seen(analyzer) == before
    assert before[: len(PICTURES)] == [1, 1, 1]
    with pytest.raises(InstantIDError, match="face pack antelopev2 was not found"):
        find_pack("antelopev2", [files / "faces"])


def another(place: Path) -> bytes:
    """Return another file of the same kind, which is accepted and gives something else."""
    if place.suffix != ".onnx":
        return b"something else"
    model = onnx.load_model(str(place))
    is_detector = len(model.graph.output) > 1
    every(POINTS if is_detector else range(1), "Mul", 0.5)(model)  # points elsewhere, or weaker
    return model.SerializeToString()


@pytest.fixture
def copied(started: Started, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A model file of the server as a file of its own, not a link; put back afterwards."""
    place = started.models / request.param
    target = place.readlink()
    place.unlink()
    shutil.copyfile(target, place)
    fresh(started.server)
    yield place
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    fresh(started.server)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps files that are in use")
@pytest.mark.parametrize("copied", [ADAPTER, RECOGNISER, DETECTOR], indirect=True)
def test_on_a_server_a_file_counts_from_the_next_loading_on(
    started: Started, copied: Path, tally: Tally
) -> None:
    server, kind = started.server, Path(copied).suffix
    loader = "IID_LoadInstantID"
    faces = [save_face(server, f"{copied.stem}{number}.png", number) for number in (1, 2)]
    before = [digest(server, outcome(server, portrait(seed=5, photo=face))) for face in faces]
    fresh(server)
    assert digest(server, outcome(server, portrait(seed=5, photo=faces[0]))) == before[0]
    half = copied.with_name("half")
    half.write_bytes(another(copied))
    half.replace(copied)
    prompt = portrait(seed=5, photo=faces[1])
    found = outcome(server, prompt)
    tally("files replaced or deleted while loaded", 1)
    assert node_id(prompt, loader) in found.cached
    assert digest(server, found) == before[1]
    fresh(server)
    found = outcome(server, prompt)
    if kind == ".bin":
        assert found.kind == "WrongFileError"
        assert copied.name in found.message
    else:
        assert digest(server, found) != before[1]


def save_face(server: Server, name: str, number: int) -> str:
    """Save a picture that no other test shows; return its name."""
    from PIL import Image

    face = DrawnFace(120 + 7 * number, 131, 149, 3, number)
    Image.fromarray(draw_faces([face], 251, 256)).save(server.base / "input" / name)
    return name


@pytest.mark.parametrize(
    ("copied", "loader", "named"),
    [
        ("instantid/ip-adapter.safetensors", "IID_LoadAdapter", "ip-adapter.safetensors"),
        (RECOGNISER, "IID_LoadFaceAnalyzer", "glintr100.onnx"),
        ("controlnet/instantid-identitynet.safetensors", "IID_LoadInstantID", "identitynet"),
    ],
    indirect=["copied"],
)
@pytest.mark.parametrize("way", ["deleted", "a folder in its place"])
def test_a_file_that_goes_between_queueing_and_loading_is_named(
    started: Started, copied: Path, tally: Tally, loader: str, named: str, way: str
) -> None:
    server = started.server
    blocking, _ = queue_until(server, *long_sampling(), 1)  # it has what it needs of the files
    second = server.queue(loading(loader))
    with WAYS[way](copied):
        server.post("/interrupt", {})
        assert ended(server, blocking).state == "interrupted"
        found = ended(server, second)
    if copied.is_dir():
        copied.rmdir()
        copied.touch()
    tally("files gone between queueing and loading", 1)
    assert found.state == "raised"
    assert found.kind in OURS, found
    assert named in found.message
    assert judged(found.message) == REFUSED


def loading(loader: str) -> Prompt:
    """Return a prompt that does nothing but load."""
    inputs = {
        "IID_LoadAdapter": {"file": "ip-adapter.safetensors"},
        "IID_LoadFaceAnalyzer": {"pack": "antelopev2", "provider": "CPU"},
        "IID_LoadInstantID": {
            "pack": "antelopev2",
            "file": "ip-adapter.bin",
            "identitynet": "instantid-identitynet.safetensors",
            "provider": "CPU",
        },
    }
    return {
        "load": node(loader, **inputs[loader]),
        "end": node("IIDDev_Sink", value=["load", 0]),
    }


def remembered(file: str, seed: int = 5) -> Prompt:
    """Return the portrait of a saved identity."""
    prompt = portrait(seed=seed)
    encode = node_id(prompt, "IID_EncodeFace")
    adapter = prompt[encode]["inputs"]["adapter"]
    prompt[encode] = node("IID_LoadIdentity", adapter=adapter, file=file)
    return prompt


def test_a_saved_identity_that_was_replaced_is_read_again_and_a_deleted_one_named(
    started: Started, adapter: Any, tally: Tally
) -> None:
    server = started.server
    folder = server.base / "output" / IDENTITIES
    folder.mkdir(exist_ok=True)
    for name, sign in (("ann", 1), ("bob", -1)):
        person = host.encode_identity(adapter, sign * EMBEDDING)
        save_identity(folder / f"{name}.safetensors", person)
    ann, bob = (
        digest(server, outcome(server, remembered(f"{name}.safetensors")))
        for name in ("ann", "bob")
    )
    assert ann != bob
    shutil.copyfile(folder / "bob.safetensors", folder / "new")
    (folder / "new").replace(folder / "ann.safetensors")
    tally("files replaced or deleted while loaded", 1)
    assert digest(server, outcome(server, remembered("ann.safetensors"))) == bob
    (folder / "ann.safetensors").unlink()
    (folder / "ann.safetensors").mkdir()
    found = outcome(server, remembered("ann.safetensors"))
    assert found.state == "refused"
    assert "There is no saved identity 'ann.safetensors'" in found.message
    (folder / "ann.safetensors").rmdir()
    wait_until(lambda: not any(server.get("/queue").values()))
    assert digest(server, outcome(server, remembered("bob.safetensors", 5))) == bob
