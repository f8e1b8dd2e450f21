"""After a fault or a cancel the server goes on, and the same prompt gives the same picture."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from faithful_instantid.devtools.comfy_server import Prompt, Server
from faithful_instantid.devtools.dev_nodes.faults import DETECTOR_FAILS, OUT_OF_MEMORY
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from PIL import Image

from ..server.conftest import Started, node_id
from .conftest import LONG, Tally
from .driving import OURS, anew, ended, fresh, outcome, portrait, wait_until
from .test_api_input import node

STEPS = 3  # the fault in the adapter comes at the third call of the UNet


def with_fault(kind: str, between: str, name: str) -> Prompt:
    """Put a faulty node into a prompt, before the input `name` of the nodes of a class."""
    prompt = healthy()
    key = node_id(prompt, between)
    source = prompt[key]["inputs"][name]
    prompt["fault"] = node(kind, **{name: source})
    prompt[key]["inputs"][name] = ["fault", 0]
    return prompt


@pytest.fixture(scope="module")
def usual(server: Server) -> str:
    """The digest of the prompt without a fault."""
    return anew(server, healthy())


def healthy() -> Prompt:
    """Return the prompt of with_fault without its fault."""
    prompt = portrait(seed=5)
    prompt[node_id(prompt, "KSampler")]["inputs"]["steps"] = STEPS
    return prompt


@pytest.mark.parametrize(
    ("kind", "between", "name", "told", "at"),
    [
        ("IIDDev_FaultyAdapter", "IID_EncodeFace", "adapter", OUT_OF_MEMORY, "IID_EncodeFace"),
        ("IIDDev_FaultyModel", "IID_Apply", "model", OUT_OF_MEMORY, "KSampler"),
        ("IIDDev_FaultyControlNet", "IID_Apply", "control_net", OUT_OF_MEMORY, "KSampler"),
        (
            *("IIDDev_FaultyAnalyzer", "IID_EncodeFace", "face_analyzer"),
            *(DETECTOR_FAILS, "IID_EncodeFace"),
        ),
    ],
)
def test_a_fault_ends_its_prompt_only(
    server: Server, usual: str, tally: Tally, kind: str, between: str, name: str, told: str, at: str
) -> None:
    for _ in range(10 if LONG else 1):
        fresh(server)
        faulty = with_fault(kind, between, name)
        if kind == "IIDDev_FaultyAnalyzer":
            faulty["fault"]["inputs"]["after"] = 5
            faulty["many"] = node(
                "IIDDev_Frames", image=[node_id(faulty, "LoadImage"), 0], count=8, seed=1
            )
            faulty[node_id(faulty, "IID_EncodeFace")]["inputs"]["image"] = ["many", 0]
        unloads = unloaded(server)
        failed = outcome(server, faulty)
        assert failed.state == "raised", failed
        assert told in failed.message
        assert faulty[failed.node]["class_type"] == at
        if told == OUT_OF_MEMORY:  # known as such by ComfyUI, which then unloads all models
            assert failed.kind == "OutOfMemoryError"
            assert unloaded(server) == unloads + 1
        tally("faults injected on the server", 1)
        assert anew(server, healthy()) == usual


def unloaded(server: Server) -> int:
    """Return how often ComfyUI has unloaded all models because memory ran out."""
    return server.log.count("unloading all loaded models")


def cut(path: Path, share: float) -> bytes:
    content = path.read_bytes()
    return content[: int(len(content) * share)]


DETECTOR = "insightface/models/antelopev2/scrfd_10g_bnkps.onnx"
RECOGNISER = "insightface/models/antelopev2/glintr100.onnx"
ADAPTER = "instantid/ip-adapter.bin"
CUT_OFF = [(ADAPTER, 0.999), (RECOGNISER, 0.3), (DETECTOR, 0.0)]
ALL_CUT_OFF = [(file, share) for file in (ADAPTER, RECOGNISER, DETECTOR) for share in (0, 0.3, 0.9)]


@pytest.mark.parametrize(("file", "share"), ALL_CUT_OFF if LONG else CUT_OFF)
def test_a_cut_off_file_is_named_and_the_whole_one_works_again(
    started: Started, usual: str, tally: Tally, file: str, share: float
) -> None:
    place = started.models / file
    target = place.readlink()
    fresh(started.server)
    try:
        place.unlink()
        place.write_bytes(cut(target, share))
        failed = outcome(started.server, portrait(seed=5))
    finally:
        place.unlink()
        place.symlink_to(target)
    tally("cut off files on the server", 1)
    assert failed.state in ("refused", "raised")
    assert place.name in failed.message or "antelopev2" in failed.message
    assert failed.state == "refused" or failed.kind in OURS
    assert anew(started.server, healthy()) == usual


def long_analysis(kind: str) -> tuple[Prompt, str]:
    """Return a prompt that looks at many pictures, and the node that does."""
    prompt = portrait(seed=6)
    prompt["many"] = node(
        "IIDDev_Frames",
        image=[node_id(prompt, "LoadImage"), 0],
        count=1000,
        seed=time.time_ns() % MANY,
    )
    key = node_id(prompt, kind)
    prompt[key]["inputs"]["image"] = ["many", 0]
    return prompt, key


def long_encoding() -> tuple[Prompt, str]:
    """Return a prompt that encodes many faces, each of them slowly, and the node that does."""
    prompt = portrait(seed=6, photo=SMALL)
    key = node_id(prompt, "IID_EncodeFace")
    analyzer = prompt[key]["inputs"]["face_analyzer"]
    seed = time.time_ns() % MANY
    prompt["slow"] = node("IIDDev_SlowAnalyzer", face_analyzer=analyzer, seconds=ENCODING)
    prompt["many"] = node(
        "IIDDev_Frames", image=[node_id(prompt, "LoadImage"), 0], count=FACES, seed=seed
    )
    prompt[key]["inputs"].update(face_analyzer=["slow", 0], image=["many", 0])
    return prompt, key


def long_sampling() -> tuple[Prompt, str]:
    prompt = portrait(seed=6)
    key = node_id(prompt, "KSampler")
    prompt[key]["inputs"]["steps"] = 5000
    return prompt, key


MANY = 1 << 31
FACES, ENCODING = 12, 0.25  # pictures, and seconds for each face, as with the real recogniser
SMALL = "small.png"  # a photo that IIDDev_Frames does not cut
# What makes a prompt that is long in a stage; and in which of the node's rounds the stage comes.
STAGES = {
    "analysis for keypoints": (lambda: long_analysis("IID_FaceKeypoints"), 1),
    "analysis for an identity": (lambda: long_analysis("IID_EncodeFace"), 1),
    "encoding": (long_encoding, 2),
    "sampling": (long_sampling, 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_cancel_stops_within_a_second_of_the_running_operation_and_changes_nothing(
    server: Server, tally: Tally, stage: str
) -> None:
    face = draw_faces([DrawnFace(60, 60, 90)], 120, 120)
    Image.fromarray(face).save(server.base / "input" / SMALL)
    before = anew(server, portrait(seed=6))
    make, round_ = STAGES[stage]
    for _ in range(10 if LONG else 1):
        prompt, key = make()
        longest, late, stopped_at = cancelled(server, prompt, key, round_)
        tally(f"prompts cancelled in {stage}", 1)
        assert stopped_at == key
        assert late <= 1.0 + longest, f"stopped after {late:.1f} s, one step took {longest:.1f} s"
        assert anew(server, portrait(seed=6)) == before


def cancelled(server: Server, prompt: Prompt, key: str, round_: int) -> tuple[float, float, str]:
    """Cancel a prompt at the fourth step of a round of a node, whose steps it counts anew in each.

    Returns the seconds of the longest step seen, the seconds until it stopped, and where it did.
    """
    prompt_id, times = queue_until(server, prompt, key, 4, round_)
    asked = time.monotonic()
    server.post("/interrupt", {})
    found = ended(server, prompt_id)
    late = time.monotonic() - asked
    assert found.state == "interrupted", found
    steps = [later - sooner for sooner, later in zip(times, times[1:], strict=False)]
    return max(steps), late, found.node


def queue_until(
    server: Server, prompt: Prompt, key: str, step: int, round_: int = 1
) -> tuple[str, list[float]]:
    """Queue a prompt and wait for a step of a round of a node; return its id and times."""
    import websocket

    address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={server.client}"
    with contextlib.closing(websocket.create_connection(address, timeout=100)) as connection:
        prompt_id = server.queue(prompt)
        times: list[float] = []
        rounds, last = 1, 0
        while len(times) < step:
            message = connection.recv()
            if not isinstance(message, str):
                continue
            event = json.loads(message)
            assert event["type"] not in ("execution_error", "execution_success"), event
            if event["type"] == "progress" and str(event["data"].get("node")) == key:
                rounds, last = rounds + (event["data"]["value"] < last), event["data"]["value"]
                if rounds == round_:
                    times.append(time.monotonic())
    return prompt_id, times


def test_a_queue_is_not_lost_when_its_first_prompt_fails(server: Server, tally: Tally) -> None:
    broken = with_fault("IIDDev_FaultyControlNet", "IID_Apply", "control_net")
    fresh(server)
    ids = [server.queue(prompt) for prompt in (broken, portrait(seed=7), portrait(seed=8))]
    states = [ended(server, prompt_id).state for prompt_id in ids]
    tally("faults injected on the server", 1)
    assert states == ["raised", "done", "done"]
    wait_until(lambda: not any(server.get("/queue").values()))
