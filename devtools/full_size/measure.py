"""Queue prompts on a running server and take the time and the memory of what it does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .graph import Graph
from .limits import GIB, MEMORY_ALLOWED, MEMORY_LEFT_OVER, available_memory, process_memory

PROMPT_LIMIT = 900.0  # seconds; a prompt that takes longer than this hangs


@dataclass
class Run:
    """One prompt's times in seconds: each node that ran, by class; each step after the first.

    The first step also moves models in, so that only the later ones tell the speed.
    """

    nodes: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)
    whole: float = 0.0
    outputs: dict[str, Any] = field(default_factory=dict)


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=120) as answer:
        return json.load(answer)


def post_json(url: str, content: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def run_prompt(url: str, graph: Graph, on_first_step: Callable[[], None] | None = None) -> Run:
    """Queue a graph, follow it to its end, and return its times.

    on_first_step: called once when the first sampling step is done, while the second one runs.
    SystemExit with the server's message if the prompt fails.
    """
    import websocket

    client = uuid.uuid4().hex
    socket = websocket.create_connection(
        f"{url.replace('http', 'ws', 1)}/ws?clientId={client}", timeout=PROMPT_LIMIT
    )
    with contextlib.closing(socket):
        started = time.perf_counter()
        queued = post_json(f"{url}/prompt", {"prompt": graph, "client_id": client})["prompt_id"]
        run = _follow(_events(socket, queued), graph, on_first_step)
        run.whole = time.perf_counter() - started
    run.outputs = get_json(f"{url}/history/{queued}")[queued]["outputs"]
    return run


def _events(socket: Any, prompt: str) -> Iterator[tuple[float, str, dict[str, Any]]]:
    """Yield (seconds, kind, data) of one prompt's messages until it is done."""
    while True:
        message = socket.recv()
        if not isinstance(message, str):
            continue
        content = json.loads(message)
        data = content.get("data", {})
        if data.get("prompt_id") == prompt:
            yield time.perf_counter(), content["type"], data
        if content["type"] == "execution_success" and data.get("prompt_id") == prompt:
            return


def _follow(
    events: Iterator[tuple[float, str, dict[str, Any]]],
    graph: Graph,
    on_first_step: Callable[[], None] | None,
) -> Run:
    run, node, since, last_step = Run(), None, 0.0, 0.0
    for now, kind, data in events:
        if kind == "execution_error":
            raise SystemExit(f"{data['node_type']} failed: {data['exception_message']}")
        if kind == "executing":
            if node is not None:
                run.nodes[node] = run.nodes.get(node, 0.0) + now - since
            key = data.get("node")
            node, since = (graph[key]["class_type"] if key else None), now
        if kind == "progress" and node == "KSampler":
            if data["value"] > 1:
                run.steps.append(now - last_step)
            elif on_first_step is not None:
                on_first_step()
                on_first_step = None
            last_step = time.perf_counter()
    if node is not None:
        run.nodes[node] = run.nodes.get(node, 0.0) + time.perf_counter() - since
    return run


@dataclass
class Watch:
    """The highest memory of a server, and why it had to be ended, if it had to be."""

    pid: int
    peak_own: int = 0
    peak_resident: int = 0
    ended: str | None = None


@contextlib.contextmanager
def watching(pid: int, interval: float = 0.5) -> Iterator[Watch]:
    """Watch a server's memory; end it rather than let it starve the machine."""
    watch, stop = Watch(pid), threading.Event()

    def look() -> None:
        while not stop.wait(interval):
            try:
                used = process_memory(pid)
            except (FileNotFoundError, ProcessLookupError):
                return
            watch.peak_own = max(watch.peak_own, used["own"])
            watch.peak_resident = max(watch.peak_resident, used["resident"])
            watch.ended = too_much(used["own"], available_memory())
            if watch.ended:
                os.kill(pid, signal.SIGKILL)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
        if watch.ended:
            raise SystemExit(watch.ended)


def too_much(used: int, available: int) -> str | None:
    """Say why a server that uses `used` bytes while `available` are left has to end, or None."""
    if used > MEMORY_ALLOWED:
        return (
            f"The server used {used / GIB:.1f} GiB of memory; {MEMORY_ALLOWED // GIB} GiB are "
            "allowed. It was ended."
        )
    if available < MEMORY_LEFT_OVER:
        return (
            f"Only {available / GIB:.1f} GiB of memory were left on this machine while the server "
            f"used {used / GIB:.1f} GiB. It was ended; close other programs and try again."
        )
    return None
