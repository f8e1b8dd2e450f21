"""Queue prompts on a running server and take the time and the memory of what it does."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .graph import Graph
from .limits import (
    GIB,
    MEMORY_ALLOWED,
    MEMORY_LEFT_OVER,
    available_memory,
    process,
    process_memory,
    processor_seconds,
)

PROMPT_LIMIT = 3600.0  # seconds
OnStep = Callable[[int], None]
PROBE = Path(__file__).with_name("probe.py")
MEMORY_ROUTE = "/rehearsal/memory"


def add_probe(base: Path) -> None:
    """Put the probe into a server's base folder before it starts; it answers at MEMORY_ROUTE."""
    nodes = base / "custom_nodes"
    nodes.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROBE, nodes / "rehearsal_probe.py")


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


def run_prompt(server: Any, graph: Graph, on_step: OnStep | None = None) -> Run:
    """Queue a graph on a comfy_server.Server, follow it to its end, and return its times.

    on_step: called with the number of each sampling step that is done, while the next one runs.
    """
    done: list[tuple[float, float]] = []  # of each step: the clock, and the processor's

    def progress(node: str, step: int, _: int) -> None:
        if graph[node]["class_type"] == "KSampler":
            done.append((time.perf_counter(), processor_seconds(server.process.pid)))
            if on_step is not None:
                on_step(step)

    started = time.perf_counter()
    result = server.run(graph, progress, PROMPT_LIMIT)
    run = Run(whole=time.perf_counter() - started, outputs=result.outputs)
    for node, seconds in result.seconds.items():
        kind = graph[node]["class_type"]
        run.nodes[kind] = run.nodes.get(kind, 0.0) + seconds
    for before, after in itertools.pairwise(done):
        run.steps.append(after[0] - before[0])
        run.steps_cpu.append(after[1] - before[1])
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
    import psutil

    watch, stop = Watch(pid), threading.Event()

    def look() -> None:
        while not stop.wait(interval):
            try:
                used = process_memory(pid)
            except psutil.NoSuchProcess:
                return
            watch.peak_own = max(watch.peak_own, used["own"])
            watch.peak_resident = max(watch.peak_resident, used["resident"])
            watch.ended = too_much(used["own"], available_memory())
            if watch.ended:
                process(pid).kill()
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
