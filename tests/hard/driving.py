"""Queue prompts on a server and read what became of them from its history."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faithful_instantid.devtools.comfy_server import Prompt, PromptFailedError, Server

from ..server.conftest import node_id, workflow

LIMIT = 240.0  # seconds that a prompt may take on a busy machine
OURS = ("MissingFileError", "MissingDependencyError", "WrongFileError", "WrongModelError")
OURS += ("WrongInputError", "NoFaceError", "InstantIDError")
ASKED_FOR = ("PreviewImage", "SaveImage")  # of the other nodes, pictures are only shown


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt.

    state: done, refused (not valid), raised (by a node), or interrupted. kind, message, node: of
    what was raised. outputs: by node id. cached: the ids of nodes that did not need to run.
    pictures: what the prompt's own preview and save nodes gave, as the server's history has them.
    """

    state: str
    message: str = ""
    kind: str = ""
    node: str = ""
    outputs: dict[str, Any] | None = None
    cached: tuple[str, ...] = ()
    pictures: tuple[dict[str, str], ...] = ()


def outcome(server: Server, prompt: Prompt, seconds: float = LIMIT) -> Outcome:
    """Queue a prompt and wait for its end."""
    try:
        prompt_id = server.queue(prompt)
    except PromptFailedError as error:
        return Outcome("refused", error.message)
    return ended(server, prompt_id, seconds)


def ended(server: Server, prompt_id: str, seconds: float = LIMIT) -> Outcome:
    """Wait for the end of a prompt that was queued."""
    found: dict[str, Any] = {}
    wait_until(lambda: bool(found.update(server.get(f"/history/{prompt_id}")) or found), seconds)
    entry = found[prompt_id]
    events = dict(entry["status"]["messages"])
    cached = tuple(events.get("execution_cached", {}).get("nodes", ()))
    if "execution_interrupted" in events:
        return Outcome("interrupted", node=events["execution_interrupted"]["node_id"])
    if "execution_error" in events:
        error = events["execution_error"]
        kind = error["exception_type"].split(".")[-1]
        return Outcome("raised", error["exception_message"].strip(), kind, error["node_id"])
    prompt, outputs = entry["prompt"][2], entry["outputs"]
    asked = [out for key, out in outputs.items() if prompt[key]["class_type"] in ASKED_FOR]
    pictures = tuple(image for out in asked for image in out["images"])
    return Outcome("done", outputs=outputs, cached=cached, pictures=pictures)


def wait_until(true: Callable[[], bool], seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for the server")
        time.sleep(0.01)


def fresh(server: Server) -> None:
    """Make the server forget what it has cached, and wait until it has.

    It does so after the prompt that runs next, before it takes another one.
    """
    server.post("/free", {"free_memory": True})
    modules = {"class_type": "IIDDev_LoadedModules", "inputs": {"names": ""}}
    assert outcome(server, {"wait": modules}).state == "done"


def anew(server: Server, prompt: Prompt) -> str:
    """Return the digest of a prompt that is really run, not answered from what is cached."""
    fresh(server)
    made = outcome(server, prompt)
    assert node_id(prompt, "KSampler") not in made.cached
    return digest(server, made)


def portrait(seed: int = 1, size: int = 64, photo: str = "example.png", **more: Any) -> Prompt:
    """Return the basic workflow, small; what is saved is only a preview."""
    sizes = {"width": size, "height": size}
    changes = {"KSampler": {"seed": seed}, "EmptyLatentImage": sizes, "LoadImage": {"image": photo}}
    prompt = workflow(**changes, **more)
    saved = prompt[node_id(prompt, "SaveImage")]
    saved["class_type"] = "PreviewImage"
    del saved["inputs"]["filename_prefix"]
    return prompt


def digest(server: Server, made: Outcome) -> str:
    """Return the sha256 of the bytes of the picture that a prompt previewed."""
    assert made.state == "done", made
    (image,) = made.pictures
    return hashlib.sha256(pixels(server.fetch(image))).hexdigest()


def pixels(png: bytes) -> bytes:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(png)).convert("RGB").tobytes()
