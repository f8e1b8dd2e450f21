"""Show that nothing grows: 500 steps of one picture, and 50 pictures of one server.

    python3 devtools/growth.py [--comfyui-version 0.30.0 | --comfyui PATH] [--steps N] [--runs N]

Runs the basic workflow with the tiny stand-in models in a real ComfyUI server and looks into it
early and late: the pack's objects and bytes, all tensors, and the server's memory. Prints a table,
and exits with 1 and a sentence for each figure that grew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import env
from comfy_server import Server, serve
from full_size import graph, limits, measure
from full_size.report import markdown

WORKFLOW = env.ROOT / "example_workflows" / "api" / "instantid_basic.json"
SIZE = 64  # pixels: what leaks does so at every size, and small ones are quick
LOOKS = 5  # at each end; the lowest counts, as a look may fall into the middle of a call
MIB = 1 << 20


@dataclass(frozen=True)
class Look:
    """What a server held at one moment: objects, and bytes."""

    objects: int
    held: int
    tensors: int
    memory: int


# Each figure's name, and how much more of it the late looks may find. Objects and bytes of the
# pack: nothing that a step or a picture adds stays under these after hundreds of them. Memory: the
# allocator's own noise.
FIGURES = {
    "objects": ("objects of the pack", 40),
    "held": ("bytes held by the pack", MIB // 4),
    "tensors": ("bytes of all tensors", 4 * MIB),
    "memory": ("bytes of the server's own memory", 48 * MIB),
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def look(server: Server) -> Look:
    found = server.get(measure.MEMORY_ROUTE)
    memory = limits.process_memory(server.process.pid)["own"]
    return Look(found["objects"], sum(found["pack"].values()), found["tensors"], memory)


def lowest(looks: Sequence[Look]) -> Look:
    return Look(*(min(getattr(one, name) for one in looks) for name in FIGURES))


def growth(early: Look, late: Look) -> list[str]:
    """Return a sentence for every figure that grew by more than is allowed."""
    found: list[str] = []
    for name, (text, allowed) in FIGURES.items():
        before, after = getattr(early, name), getattr(late, name)
        if after - before > allowed:
            found.append(
                f"{text} grew from {before:,} to {after:,}; {allowed:,} more would have been "
                "allowed"
            )
    return found


def workflow(steps: int, seed: int, weight: float) -> graph.Graph:
    return graph.with_inputs(
        json.loads(WORKFLOW.read_text(encoding="utf-8")),
        {
            "EmptyLatentImage": {"width": SIZE, "height": SIZE},
            "KSampler": {"steps": steps, "seed": seed},
            "IID_Apply": {"weight": weight},
        },
    )


def over_steps(server: Server, steps: int) -> tuple[Look, Look]:
    """Look at a long sampling near its start and near its end."""
    early: list[Look] = []
    late: list[Look] = []

    def on_step(step: int) -> None:
        if steps // 10 <= step < steps // 10 + LOOKS:
            early.append(look(server))
        elif steps - LOOKS <= step < steps:
            late.append(look(server))

    measure.run_prompt(server, workflow(steps, 1, 0.8), on_step)
    return lowest(early), lowest(late)


def over_runs(server: Server, runs: int) -> tuple[Look, Look]:
    """Look after early and late pictures; every one has another seed and another weight."""
    looks: list[Look] = []
    for number in range(runs):
        measure.run_prompt(server, workflow(2, number, 0.5 + number / 1000))
        looks.append(look(server))
    return lowest(looks[LOOKS : 2 * LOOKS]), lowest(looks[-LOOKS:])


def table(rows: Sequence[tuple[str, Look]]) -> str:
    head = ("When", *(text for text, _ in FIGURES.values()))
    return markdown(head, [(when, *(f"{n:,}" for n in astuple(seen))) for when, seen in rows])


def run(comfyui: Path, steps: int, runs: int) -> int:
    """Measure, print the table, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        base = Path(name)
        measure.add_probe(base)
        # ComfyUI's other caches keep the outputs of earlier prompts for as long as memory lasts.
        arguments = ("--cache-classic",)
        with serve(base=base, comfyui=comfyui, arguments=arguments) as server:
            say(f"{steps} steps")
            first, last = over_steps(server, steps)
            say(f"{runs} pictures")
            early, late = over_runs(server, runs)
    rows = [
        (f"step {steps // 10}", first),
        (f"step {steps}", last),
        (f"picture {2 * LOOKS}", early),
        (f"picture {runs}", late),
    ]
    print(table(rows))
    found = [f"Over {steps} steps {text}." for text in growth(first, last)]
    found += [f"Over {runs} pictures {text}." for text in growth(early, late)]
    for sentence in found:
        say(f"FAILED: {sentence}")
    return 1 if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    env.add_arguments(parser)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    raise SystemExit(run(env.inside(options).comfyui, options.steps, options.runs))


if __name__ == "__main__":
    main()
