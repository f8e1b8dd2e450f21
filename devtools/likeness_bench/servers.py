"""A ComfyUI server, started here or running already: whether it has what the graphs need."""

from __future__ import annotations

import contextlib
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..comfy_server import Server, serve
from .errors import NotReadyError, QualityError
from .graphs import FILES, Nodes, set_inputs
from .settings import Setting

NODE_PACK = "Faithful InstantID"


@dataclass(frozen=True)
class Own:
    """What is needed to start a server: ComfyUI's tree and interpreter, and models."""

    comfyui: Path
    python: Path
    models: Path
    base: Path
    cpu: bool
    dev_nodes: bool = False


@contextlib.contextmanager
def running(url: str | None, own: Own | None) -> Iterator[Server]:
    """Give the server at `url`, or one that is started and ended here."""
    if url is not None:
        yield connect(url)
        return
    assert own is not None
    more = {"comfyui": own.comfyui, "python": own.python, "dev_nodes": own.dev_nodes}
    with serve(own.models, own.base, cpu=own.cpu, **more) as server:
        yield server


def connect(url: str) -> Server:
    """Return a server that runs already. Raises QualityError where nothing answers."""
    server = Server(url.rstrip("/"), Path(), None)
    try:
        stats = server.get("/system_stats")
    except (OSError, ValueError) as error:
        raise QualityError(
            f"--server: no ComfyUI answers at {url} ({error}). Start it, and give its address as "
            "http://127.0.0.1:8188."
        ) from error
    if not isinstance(stats, dict) or "system" not in stats:
        raise QualityError(f"--server: what answers at {url} is no ComfyUI.")
    return server


def upload(server: Server, name: str, content: bytes) -> None:
    """Put a picture into the server's input folder. name: with its folder, as `a/b.png`."""
    folder, _, file = name.rpartition("/")
    edge = secrets.token_hex(16)
    fields = {"type": "input", "subfolder": folder, "overwrite": "true"}
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'Content-Disposition: form-data; name="image"; filename="{file}"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    parts.append(f"--{edge}\r\n{head}{kind}".encode() + content + f"\r\n--{edge}--\r\n".encode())
    request = urllib.request.Request(f"{server.url}/upload/image", b"".join(parts))
    request.add_header("Content-Type", f"multipart/form-data; boundary={edge}")
    try:
        with urllib.request.urlopen(request, timeout=60):
            return
    except urllib.error.HTTPError as error:
        raise QualityError(
            f"The server at {server.url} does not take a photo ({error}). Is it a ComfyUI whose "
            "input folder can be written to?"
        ) from error


def with_files(
    server: Server, settings: Sequence[Setting], chosen: Mapping[str, str | None]
) -> list[Setting]:
    """Return the settings with model files that the server has.

    chosen: names of `checkpoint`, `adapter` and `identitynet`; None keeps the graphs', or takes
    the only file there is. Raises NotReadyError that lists all that is missing.
    """
    known = server.get("/object_info")
    problems: list[str] = []
    made: list[Setting] = []
    for setting in settings:
        nodes = setting.nodes
        missing = {n["class_type"] for n in nodes.values()} - set(known)
        problems += [_no_node(kind, setting.name) for kind in sorted(missing)]
        for what, slots in FILES.items():
            nodes = _choose(nodes, known, slots, what, chosen.get(what), problems)
        made.append(replace(setting, nodes=nodes))
    if problems:
        raise NotReadyError(list(dict.fromkeys(problems)))
    return made


def _no_node(kind: str, setting: str) -> str:
    return (
        f"node {kind} of {setting!r}: the server does not know it. Install {NODE_PACK}, or the "
        "pack of your own graph, there."
    )


def _choose(
    nodes: Nodes,
    known: Mapping[str, Any],
    slots: Sequence[str],
    what: str,
    chosen: str | None,
    problems: list[str],
) -> Nodes:
    """Set one kind of file in all loaders of a graph; what cannot be is added to `problems`."""
    values: dict[str, str] = {}
    for node in nodes.values():
        kind = node["class_type"]
        for slot in slots:
            held = node["inputs"].get(slot)
            if not isinstance(held, str) or kind not in known:
                continue
            there = choices(known[kind], slot)
            wanted = chosen or (there[0] if held not in there and len(there) == 1 else held)
            if wanted in there:
                values[f"{kind}.{slot}"] = wanted
            else:
                problems.append(_no_file(what, wanted, there))
    return set_inputs(nodes, values)


def _no_file(what: str, wanted: str, there: Sequence[str]) -> str:
    if not there:
        return f"{what}: the server has none. Put the file into its models folder."
    return f"{what}: the server has no {wanted!r}. Choose with --{what}: {', '.join(there)}."


def choices(node: Mapping[str, Any], slot: str) -> list[str]:
    """Return what a node's input may be, from its entry in /object_info; both forms of a combo."""
    for group in node["input"].values():
        if slot in group:
            kind, *rest = group[slot]
            return list(kind) if isinstance(kind, list) else list(rest[0].get("options", []))
    return []
