"""Whatever stands in a prompt that comes over the API: a result, or a sentence; then the next."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.devtools.dev_nodes.faults import VALUES

from .conftest import LONG, Tally
from .driving import OURS, anew, digest, outcome, portrait
from .test_bad_input import REFUSED, judged

SHORT = 4  # values for each input in the short form

WRITTEN: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "huge": 1e308,
    "NaN": math.nan,
    "infinite": math.inf,
    "large": 1 << 70,
    "text": "text",
    "empty text": "",
    "zero byte": "a\0b",
    "parent": "../../../../etc/passwd",
    "surrogate": "\ud800",
    "long text": "9" * 20_000,
    "empty list": [],
    "half a link": ["photo"],
    "link to nothing": ["nobody", 0],
    "link to no output": ["photo", 99],
    "link to itself": ["node", 0],
    "link of lists": [["photo"], [0]],
    "object": {"a": 1},
    "wrapped": {"__value__": [1, 2]},
}
# What a refusal says when it is none, but an exception in a node's own check or in the server.
BROKEN = ("Traceback", "Exception when validating", "Internal Server Error")
# Links that ComfyUI follows before it asks a node; it refuses the prompt with such an exception.
COMFYUIS_OWN = ("link to nothing", "link to no output", "link of lists")
# What gives each socket type out, in BASE.
SOURCES = {
    "MODEL": ["checkpoint", 0],
    "CONDITIONING": ["text", 0],
    "CONTROL_NET": ["identitynet", 0],
    "FACEANALYSIS": ["analyzer", 0],
    "INSTANTID": ["adapter", 0],
    "IMAGE": ["photo", 0],
    "MASK": ["photo", 1],
    "FACE_EMBEDS": ["face", 0],
    "FACE_KEYPOINTS": ["points", 0],
    "IID_FACE_REFERENCES": ["reference", 0],
    "IID_PEOPLE": ["person", 0],
    "FACE_CROP": ["crop", 3],
    "POSE_KEYPOINT": ["pose", 0],
}


def node(kind: str, /, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


BASE: Prompt = {
    "checkpoint": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
    "text": node("CLIPTextEncode", clip=["checkpoint", 1], text="a portrait"),
    "identitynet": node("ControlNetLoader", control_net_name="instantid-identitynet.safetensors"),
    "adapter": node("IID_LoadAdapter", file="ip-adapter.bin"),
    "analyzer": node("IID_LoadFaceAnalyzer", pack="antelopev2", provider="CPU"),
    "photo": node("LoadImage", image="example.png"),
    "pose": node("IIDDev_Body"),
    "points": node("IID_PlaceKeypoints", width=256, height=256, x=0.5, y=0.5, size=0.5),
    "face": node(
        "IID_EncodeFace",
        face_analyzer=["analyzer", 0],
        adapter=["adapter", 0],
        image=["photo", 0],
        pick="largest",
        index=0,
        combine="mean",
        on_missing="error",
    ),
    "found": node(
        "IID_FaceKeypoints",
        face_analyzer=["analyzer", 0],
        image=["photo", 0],
        pick="largest",
        index=0,
        on_missing="error",
    ),
    "crop": node(
        "IID_CropFace",
        image=["photo", 0],
        keypoints=["found", 0],
        order="left_to_right",
        index=0,
        context=2.0,
        long_side=64,
        aspect=1.0,
        multiple_of="8",
        upright=True,
        shape="ellipse",
        padding=0.1,
        feather=0.15,
    ),
}


@pytest.fixture(scope="module")
def nodes(server: Server) -> dict[str, Any]:
    """The pack's nodes, as the server describes them."""
    described = server.get("/object_info")
    return {
        name: node
        for name, node in described.items()
        if node["python_module"].endswith("faithful-instantid")
    }


def right(node_class: str, described: dict[str, Any]) -> dict[str, Any]:
    """Return inputs that a node takes: links for sockets, what the widgets begin with."""
    inputs: dict[str, Any] = {}
    for name, (kind, *options) in described["input"]["required"].items():
        settings = options[0] if options else {}
        first = kind.split(",")[0] if isinstance(kind, str) else "COMBO"
        if first in SOURCES:
            inputs[name] = SOURCES[first]
        elif first == "COMBO":
            offered = kind if isinstance(kind, list) else settings["options"]
            inputs[name] = settings.get("default", (offered or ["nothing"])[0])
        else:
            inputs[name] = settings["default"]
    if "keypoints" in described["input"].get("optional", {}):
        inputs["keypoints"] = SOURCES["FACE_KEYPOINTS"]
    sides = {"width": 256, "height": 256, "long_side": 64}
    inputs.update({side: length for side, length in sides.items() if side in inputs})
    return inputs


def prompts(name: str, described: dict[str, Any]) -> Iterator[tuple[str, str, Prompt]]:
    """Yield (input, what it is given, prompt) for each input and bad value of a node."""
    inputs = right(name, described)
    every = {**described["input"]["required"], **described["input"].get("optional", {})}
    for place, (key, (kind, *_)) in enumerate(every.items()):
        is_socket = isinstance(kind, str) and kind.split(",")[0] in SOURCES
        values: dict[str, Any] = {"left out": ...}
        if is_socket:
            values.update({f"foreign {what}": ["foreign", what] for what in VALUES})
        values.update(WRITTEN)
        names = list(values)
        step = 1 if LONG else max(1, len(names) // SHORT)
        for what in names[place % step :: step]:
            value = values[what]
            more: Prompt = {}
            given = {**inputs, key: value}
            if value is ...:
                del given[key]
            elif what.startswith("foreign "):
                more["foreign"] = node("IIDDev_Value", kind=value[1])
                given[key] = ["foreign", 0]
            yield key, what, {**more, "node": node(name, **given)}


def whole(part: Prompt, has_outputs: bool) -> Prompt:
    """Add what the node's links lead to, and something that makes it run."""
    prompt = dict(part)
    if has_outputs:
        prompt["end"] = node("IIDDev_Sink", value=["node", 0])
    reached = [part["node"]]
    while reached:
        for value in reached.pop()["inputs"].values():
            source = value[0] if isinstance(value, list) and value else None
            if isinstance(source, str) and source in BASE and source not in prompt:
                prompt[source] = BASE[source]
                reached.append(BASE[source])
    return prompt


def test_over_the_api_every_input_gets_a_result_or_a_sentence_and_the_next_prompt_runs(
    server: Server, nodes: dict[str, Any], tally: Tally
) -> None:
    before = digest(server, outcome(server, portrait(seed=11)))
    wrong: list[str] = []
    for name, described in nodes.items():
        for key, what, part in prompts(name, described):
            found = outcome(server, whole(part, bool(described["output"])))
            tally("bad inputs tried over the API", 1)
            ours = found.kind in OURS and judged(found.message) == REFUSED
            broken = any(sign in found.message for sign in BROKEN) and what not in COMFYUIS_OWN
            told = found.state == "refused" and not broken
            if not (found.state == "done" or ours or told):
                wrong.append(f"{name}.{key} given {what}: {found}")
    assert not wrong, "\n" + "\n".join(wrong)
    assert anew(server, portrait(seed=11)) == before
