"""Queue prompts on a running server and take the time of what it does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .graph import Graph
from .limits import process

PROMPT_LIMIT = 3600.0  # seconds
MEMORY_ROUTE = "/rehearsal/memory"  # where the probe answers


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


def run_prompt(server: Any, graph: Graph, on_step: Callable[[int], None] = lambda _: None) -> Run:
    """Queue a graph on a comfy_server.Server, follow it to its end, and return its times.

    on_step: called with the number of each sampling step that is done, while the next one runs.
    """
    clocks: list[float] = []  # when each step was done
    processor: list[float] = []  # and the server's processor seconds by then, over all cores

    def progress(node: str, step: int, _: int) -> None:
        if graph[node]["class_type"] == "KSampler":
            clocks.append(time.perf_counter())
            processor.append(sum(process(server.process.pid).cpu_times()[:2]))
            on_step(step)

    started = time.perf_counter()
    result = server.run(graph, progress, PROMPT_LIMIT)
    run = Run(whole=time.perf_counter() - started, outputs=result.outputs)
    for node, seconds in result.seconds.items():
        kind = graph[node]["class_type"]
        run.nodes[kind] = run.nodes.get(kind, 0.0) + seconds
    run.steps, run.steps_cpu = (
        [after - before for before, after in itertools.pairwise(times)]
        for times in (clocks, processor)
    )
    return run
