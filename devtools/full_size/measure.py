"""Queue prompts on a running server and take the time and the memory of what it does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .graph import Graph
from .limits import (
    GIB,
    MEMORY_ALLOWED,
    MEMORY_LEFT_OVER,
    available_memory,
    process_memory,
    processor_seconds,
)

PROMPT_LIMIT = 1200.0  # seconds; a server that is silent for longer hangs


OnStep = Callable[[int], None]
PROBE = Path(__file__).with_name("probe.py")
MEMORY_ROUTE = "/rehearsal/memory"


def add_probe(base: Path) -> None:
    """Put the probe into a server's base folder before it starts; it answers at MEMORY_ROUTE."""
    nodes = base / "custom_nodes"
    nodes.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROBE, nodes / "rehearsal_probe.py")


class Server(Protocol):
    """What is used of comfy_server.Server."""

    url: str
    client: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any: ...

    def queue(self, prompt: Graph) -> str: ...


@dataclass
class Run:
    """One prompt's times in seconds: each node that ran, by class; each step after the first.

    The first step also moves models in, so that only the later ones tell the speed. steps_cpu:
    the processor seconds of the same steps, over all cores, which other programs hardly change.
    """

    nodes: dict[str, float] = field(default_factory=dict)
    steps: list[float] = field(default_factory=list)
    steps_cpu: list[float] = field(default_factory=list)
    whole: float = 0.0
    outputs: dict[str, Any] = field(default_factory=dict)


def run_prompt(server: Server, graph: Graph, on_step: OnStep | None = None) -> Run:
    """Queue a graph, follow it to its end, and return its times.

    on_step: called with the number of each sampling step that is done, while the next one runs.
    SystemExit with the server's message if the prompt fails.
    """
    import websocket

    address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={server.client}"
    connection = websocket.create_connection(address, timeout=PROMPT_LIMIT)
    with contextlib.closing(connection):
        started = time.perf_counter()
        queued = server.queue(graph)
        run = _follow(_events(connection, queued), graph, server.process.pid, on_step)
        run.whole = time.perf_counter() - started
    run.outputs = server.get(f"/history/{queued}")[queued]["outputs"]
    return run


Event = tuple[float, str, dict[str, Any]]


def _events(connection: Any, prompt: str) -> Iterator[Event]:
    """Yield (seconds, kind, data) of one prompt's messages until it is done."""
    while True:
        message = connection.recv()
        if not isinstance(message, str):
            continue  # a preview picture
        content = json.loads(message)
        kind, data = content["type"], content["data"]
        if data.get("prompt_id") != prompt:
            continue
        yield time.perf_counter(), kind, data
        if kind == "executing" and data["node"] is None:
            return


def _follow(events: Iterator[Event], graph: Graph, pid: int, on_step: OnStep | None) -> Run:
    run, node, since = Run(), None, 0.0
    last_step, last_cpu = 0.0, 0.0
    for now, kind, data in events:
        if kind == "execution_error":
            raise SystemExit(f"{data['node_type']} failed: {data['exception_message']}")
        if kind == "executing":
            if node is not None:
                run.nodes[node] = run.nodes.get(node, 0.0) + now - since
            key = data["node"]
            node, since = (graph[key]["class_type"] if key else None), now
        if kind == "progress" and node == "KSampler":
            cpu = processor_seconds(pid)
            if data["value"] > 1:
                run.steps.append(now - last_step)
                run.steps_cpu.append(cpu - last_cpu)
            last_step, last_cpu = now, cpu
            if on_step is not None:
                on_step(data["value"])
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
