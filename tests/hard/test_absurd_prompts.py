"""Workflow JSON with absurd values and paths: an answer, nothing read or written elsewhere."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.instantid_core.identity_file import save_identity
from faithful_instantid.nodes.folders import IDENTITIES

from ..server.conftest import node_id
from .bad_values import TEXTS
from .conftest import LONG, Tally
from .driving import OURS, anew, digest, fresh, outcome, portrait
from .test_api_input import BASE, node, nodes, right, whole  # noqa: F401  (nodes: a fixture)
from .test_bad_input import REFUSED, judged

MEMORY = 512 << 20  # bytes that the server's own memory may grow by
SHORT = 7  # of all pairs of a widget and a value, the short form tries each seventh


def nested(depth: int, kind: str) -> Any:
    """Return a list or a dict within a list or a dict ..."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


ABSURD: dict[str, Any] = {
    "a million characters": "x" * 1_000_000,
    "a million digits and commas": "1," * 500_000,
    "a million parents": "../" * 333_333,
    "a million line feeds": "\n" * 1_000_000,
    "a number of 4000 digits": 10**4000,
    "a negative number of 4000 digits": -(10**4000),
    "a hundred lists in each other": nested(100, "list"),
    "a hundred objects in each other": nested(100, "dict"),
    "a hundred thousand entries": list(range(100_000)),
    "a hundred thousand keys": {str(n): n for n in range(100_000)},
}


def test_absurd_values_get_an_answer_and_the_next_prompt_runs(
    server: Server,
    nodes: dict[str, Any],  # noqa: F811
    tally: Tally,
) -> None:
    before = digest(server, outcome(server, portrait(seed=12)))
    held = memory(server)
    wrong: list[str] = []
    for number, (name, key, what, prompt) in enumerate(absurd(nodes)):
        if not LONG and number % SHORT:
            continue
        found = outcome(server, prompt)
        tally("absurd values tried over the API", 1)
        ours = found.kind in OURS and judged(found.message) == REFUSED
        if not (found.state in ("done", "refused") or ours):
            wrong.append(f"{name}.{key} given {what}: {str(found)[:300]}")
    assert not wrong, "\n" + "\n".join(wrong)
    server.post("/history", {"clear": True})  # where ComfyUI keeps the prompts themselves
    fresh(server)
    assert memory(server) - held < MEMORY
    assert anew(server, portrait(seed=12)) == before


def absurd(described: dict[str, Any]) -> Iterator[tuple[str, str, str, Prompt]]:
    """Yield (node, input, what it is given, prompt) for every widget of every node."""
    for name, node_described in described.items():
        inputs = right(name, node_described)
        sections = node_described["input"]
        for key in {**sections["required"], **sections.get("optional", {})}:
            if isinstance(inputs.get(key), list):
                continue  # a socket
            for what, value in ABSURD.items():
                part: Prompt = {"node": node(name, **{**inputs, key: value})}
                yield name, key, what, whole(part, bool(node_described["output"]))


def memory(server: Server) -> int:
    """Return the bytes of the server's own memory; 0 where nothing tells it."""
    try:
        text = Path(f"/proc/{server.process.pid}/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if "RssAnon" in line)


def linked(kind: str, value: Any) -> Prompt:
    return {"number": node(kind, value=value)}


NEGATIVE: dict[str, Prompt] = {
    "a canvas of minus 64 pixels": {
        **linked("PrimitiveInt", -64),
        "node": node("IID_PlaceKeypoints", width=["number", 0], height=64, x=0.5, y=0.5, size=0.5),
    },
    "a canvas of 2 to 40 pixels": {
        **linked("PrimitiveInt", 1 << 40),
        "node": node(
            "IID_DrawKeypoints",
            keypoints=["points", 0],
            width=["number", 0],
            height=64,
            fit="crop",
        ),
    },
    "a mask of 2 to 62 pixels": {
        **linked("PrimitiveInt", 1 << 62),
        "node": node(
            "IID_FaceRegionMask",
            keypoints=["points", 0],
            **{"width": ["number", 0], "height": ["number", 0], "fit": "crop"},
            **{"shape": "box", "padding": 0, "feather": 0},
        ),
    },
    "a face of minus 1e18": {
        **linked("PrimitiveFloat", -1e18),
        "node": node("IID_PlaceKeypoints", width=64, height=64, x=0.5, y=0.5, size=["number", 0]),
    },
    "face number minus 2 to 40": {
        **linked("PrimitiveInt", -(1 << 40)),
        "node": {
            **BASE["face"],
            "inputs": {**BASE["face"]["inputs"], "index": ["number", 0]},
        },
    },
    "an empty batch": {
        "frames": node("IIDDev_Frames", image=["photo", 0], count=0, seed=1),
        "node": {
            **BASE["face"],
            "inputs": {**BASE["face"]["inputs"], "image": ["frames", 0]},
        },
    },
}


@pytest.mark.parametrize("what", NEGATIVE)
def test_a_linked_in_number_beyond_its_slider_gets_a_sentence(
    server: Server, tally: Tally, what: str
) -> None:
    part = NEGATIVE[what]
    prompt = whole(part, True)
    for name in ("photo", "points"):
        if name in json.dumps(part):
            prompt.setdefault(name, BASE[name])
    found = outcome(server, prompt)
    tally("absurd values tried over the API", 1)
    assert found.state == "raised", found
    assert found.kind in OURS
    assert judged(found.message) == REFUSED


@pytest.mark.parametrize("batch", [-1, 0, 1 << 40])
def test_a_batch_that_cannot_be_ends_its_own_prompt_only(
    server: Server, tally: Tally, batch: int
) -> None:
    before = digest(server, outcome(server, portrait(seed=12)))
    prompt = portrait(seed=12)
    prompt[node_id(prompt, "EmptyLatentImage")]["inputs"]["batch_size"] = ["number", 0]
    found = outcome(server, {**prompt, **linked("PrimitiveInt", batch)})
    tally("absurd values tried over the API", 1)
    assert found.state != "done", found
    assert anew(server, portrait(seed=12)) == before


BODIES: dict[str, bytes] = {
    "lists without end": b'{"prompt": ' + b"[" * 200_000,
    "lists in lists": b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "no prompt": b'{"prompt": null}',
    "a list": b"[]",
    "no nodes": b'{"prompt": {}}',
    "a node that is nothing": b'{"prompt": {"1": null}}',
    "a node without inputs": b'{"prompt": {"1": {"class_type": "IID_SaveIdentity"}}}',
    "inputs that are a list": b'{"prompt": {"1": {"class_type": "IID_Person", "inputs": []}}}',
    "a class that is a number": b'{"prompt": {"1": {"class_type": 1, "inputs": {}}}}',
    "nodes in a circle": json.dumps(
        {
            "prompt": {
                "a": node("IID_TransformKeypoints", keypoints=["b", 0]),
                "b": node("IID_TransformKeypoints", keypoints=["a", 0]),
                "end": node("IIDDev_Sink", value=["a", 0]),
            }
        }
    ).encode(),
    "no UTF-8": b'{"prompt": {"1": {"class_type": "\xff\xfe"}}}',
    "a number of a million digits": b'{"prompt": {"1": ' + b"9" * 1_000_000 + b"}}",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_prompt_is_answered_and_the_server_goes_on(
    server: Server, tally: Tally, body: str
) -> None:
    request = urllib.request.Request(f"{server.url}/prompt", BODIES[body])
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    tally("bodies that are no prompt", 1)
    assert refused.value.code in (400, 500)
    assert outcome(server, loading()).state == "done"


def loading() -> Prompt:
    return {"load": BASE["adapter"], "end": node("IIDDev_Sink", value=["load", 0])}


OUT = ("../{0}", "../../{0}", "../../../../../tmp/{0}", "/tmp/{0}", "x/../../{0}", "..\\..\\{0}")
OUT += ("..//..//{0}", "./.././../{0}", "%year%/../../{0}", "linked/{0}", "linked/deeper/{0}")
FILES = {
    "IID_LoadAdapter": ("file", {}),
    "IID_LoadIdentity": ("file", {"adapter": ["adapter", 0]}),
    "IID_LoadFaceAnalyzer": ("pack", {"provider": "CPU"}),
    "IID_LoadInstantID": (
        "identitynet",
        {"pack": "antelopev2", "file": "ip-adapter.bin", "provider": "CPU"},
    ),
}


@pytest.fixture
def links(server: Server, identity: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder outside ComfyUI's, with an identity in it; a link leads there from the output."""
    save_identity(tmp_path / "secret.safetensors", identity)
    save_identity(server.base / "secret.safetensors", identity)
    folder = server.base / "output" / IDENTITIES
    folder.mkdir(exist_ok=True)
    made = [server.base / "output" / "linked", folder / "linked"]
    for link in made:
        link.symlink_to(tmp_path, target_is_directory=True)
    yield tmp_path
    for link in made:
        link.unlink()
    (server.base / "secret.safetensors").unlink()


@pytest.mark.skipif(os.name == "nt", reason="links take permission on Windows")
def test_nothing_is_saved_outside_the_output_folder(
    server: Server, links: Path, tally: Tally
) -> None:
    mark = uuid.uuid4().hex
    save = {"identity": ["face", 0]}
    for pattern in OUT:
        prefix = pattern.format(mark)
        part = {"node": node("IID_SaveIdentity", filename_prefix=prefix, **save)}
        found = outcome(server, whole(part, False))
        tally("paths that lead elsewhere", 1)
        inside = found.state == "done"  # with a backslash or so in its name
        assert inside or (found.kind in OURS and judged(found.message) == REFUSED), found
    outside = [*links.rglob("*"), *Path("/tmp").glob(f"*{mark}*"), *Path("/").glob(f"*{mark}*")]
    outside += [*server.base.glob(f"*{mark}*"), *server.base.parent.glob(f"*{mark}*")]
    assert [path.name for path in outside] == ["secret.safetensors"]
    within = {path.name for path in (server.base / "output").rglob(f"*{mark}*")}
    assert len(within) <= 1 + sum("\\" in pattern for pattern in OUT)


@pytest.mark.skipif(os.name == "nt", reason="links take permission on Windows")
def test_an_identity_is_never_written_through_a_link(
    server: Server, links: Path, identity: Any, tally: Tally
) -> None:
    """Links wait under the names that a file has, and has had while it was written."""
    target = links / "secret.safetensors"
    before = target.read_bytes()
    folder = server.base / "output" / "traps"
    folder.mkdir()
    for number in range(1, 4):
        (folder / f"x_{number:05}_.safetensors").symlink_to(target)
    part = {"node": node("IID_SaveIdentity", identity=["face", 0], filename_prefix="traps/x")}
    assert outcome(server, whole(part, False)).state == "done"
    saved = folder / "x_00004_.safetensors"
    assert saved.is_file()
    assert not saved.is_symlink()
    for ending in ("", ".part", ".tmp"):
        (folder / f"y.safetensors{ending}").symlink_to(target)
    other = replace(identity, face_embedding=-identity.face_embedding)
    save_identity(folder / "y.safetensors", other)
    tally("links in the way of a file", 6)
    assert not (folder / "y.safetensors").is_symlink()
    assert target.read_bytes() == before


@pytest.mark.parametrize("loader", FILES)
def test_a_path_in_the_place_of_a_file_name_reads_nothing(
    server: Server, links: Path, tally: Tally, loader: str
) -> None:
    key, more = FILES[loader]
    names = [pattern.format("secret.safetensors") for pattern in OUT if "linked" not in pattern]
    names += [
        str(links / "secret.safetensors"),
        "/etc/passwd",
        "file:///etc/passwd",
        *TEXTS.values(),
    ]
    for name in names:
        part = {"node": node(loader, **more, **{key: name})}
        found = outcome(server, whole(part, True))
        tally("paths that lead elsewhere", 1)
        assert found.state == "refused", f"{name[:80]!r}: {found}"
        assert "Exception when validating" not in found.message
        assert "root:" not in found.message
