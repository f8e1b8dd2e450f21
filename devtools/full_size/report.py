"""The rehearsal's figures: gathered, checked against what is promised, and shown as a table."""

from __future__ import annotations

import itertools
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .graph import Graph
from .limits import GIB, process

PROMPT_LIMIT = 3600.0  # seconds
MEMORY_ROUTE = "/rehearsal/memory"  # where the probe answers
Survey = Mapping[str, Any]  # what the probe answers, and the process's memory
MIB = 1 << 20
AT_THE_END = "after /free"
# What is looked for in the server, and the bytes of it that may still be there at the end.
HELD: dict[str, Callable[[Survey], int]] = {
    "Identities": lambda survey: survey["pack"]["identities"],
    "Adapter weights": lambda survey: survey["pack"]["weights"],
    "Anything else of the pack": lambda survey: survey["pack"]["other"],
    "Open ONNX sessions, by file size": lambda survey: sum(survey["sessions"]),
    "All tensors of the server": lambda survey: survey["tensors"],
    "The server's own memory": lambda survey: survey["own"],
}
LEFT_ALLOWED = {
    "Adapter weights": 0,
    "Anything else of the pack": MIB,  # small tables, remembered faces
    "Open ONNX sessions, by file size": 0,
    "All tensors of the server": 64 * MIB,  # whoever keeps a model keeps more
}

# Words with which ComfyUI's loaders report a key that a file lacks or has too many.
KEY_COMPLAINTS = re.compile(
    r"(clip|unet) (missing|unexpected)|(missing|unexpected) controlnet keys|left over keys"
)
# Keys that ComfyUI's text encoder asks for and the published SDXL checkpoint does not have, and one
# it has and nobody asks for: the published file makes ComfyUI say the same.
KNOWN = {
    "clip_l.logit_scale",
    "clip_l.transformer.text_projection.weight",
    "clip_l.transformer.text_model.embeddings.position_ids",
}
# Mean distance of the pictures' 8-bit values; the same graph twice gives exactly 0 on a CPU. With
# random weights the face region is a small part of the picture, and the whole differs by little.
LEAST_DIFFERENCE = 0.02
NOT_FINITE = "invalid value encountered"


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


@dataclass
class Figures:
    """All that one rehearsal measured; bytes and seconds."""

    started: float = 0.0
    imported: float = 0.0
    first: Run = field(default_factory=Run)
    plain: list[Run] = field(default_factory=list)
    instantid: list[Run] = field(default_factory=list)
    surveys: dict[str, Survey] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    whole: float = 0.0


def import_seconds(log: str) -> float:
    """The seconds that ComfyUI spent importing the pack, as its log says."""
    found = re.search(r"([\d.]+) seconds(?: \([^)]*\))?: \S*faithful-instantid", log)
    if found is None:
        raise SystemExit("ComfyUI's log has no import time of faithful-instantid; was it loaded?")
    return float(found[1])


def key_complaints(log: str) -> list[str]:
    """The lines in which ComfyUI says that keys were missing, unexpected or left over."""
    lines = [line for line in log.splitlines() if KEY_COMPLAINTS.search(line)]
    named = [set(re.findall(r"'([^']+)'", line)) for line in lines]
    return [line for line, keys in zip(lines, named, strict=True) if not keys or keys - KNOWN]


def failures(figures: Figures, log: str, spread: float, difference: float) -> list[str]:
    """Return a sentence for every promise that was not kept.

    spread: the standard deviation of the picture's 8-bit values; difference: the mean distance
    between the pictures with and without InstantID from the same seed.
    """
    found = [f"ComfyUI's loader complained: {line}" for line in key_complaints(log)]
    if NOT_FINITE in log or spread < 1:
        found.append(
            f"The picture is not finite or flat: its values spread by {spread:.2f}, and at least "
            "1 was wanted."
        )
    if difference < LEAST_DIFFERENCE:
        found.append(
            f"With and without InstantID the pictures differ by {difference:.3f} of 255; at "
            f"least {LEAST_DIFFERENCE} was wanted. It cannot have been applied."
        )
    left = {what: count(figures.surveys[AT_THE_END]) for what, count in HELD.items()}
    return found + [
        f"After /free there is too much of: {what}, {left[what]:,} bytes; at most {most:,} wanted."
        for what, most in LEFT_ALLOWED.items()
        if left[what] > most
    ]


# --- the table ---------------------------------------------------------------------------------

LOADERS = (
    ("CheckpointLoaderSimple", "Load the SDXL checkpoint (6.94 GB)"),
    ("IID_LoadInstantID", "Load adapter, IdentityNet and face analyzer (4.47 GB)"),
    ("IID_EncodeFace", "Encode a face (opens the ONNX files, projects K and V)"),
    ("IID_FaceKeypoints", "Find the keypoints"),
    ("IID_Apply", "Apply InstantID"),
)


def table(figures: Figures) -> str:
    """Return the figures as three Markdown tables."""
    return "\n\n".join([_times(figures), _speed(figures), _memory(figures)])


def _times(figures: Figures) -> str:
    rows = [
        ("Start the server", f"{figures.started:.1f} s"),
        ("of that, import the pack", f"{figures.imported:.1f} s"),
    ]
    for kind, text in LOADERS:
        if kind in figures.first.nodes:
            rows.append((text, f"{figures.first.nodes[kind]:.2f} s"))
    rows.append(("First picture, with all of the above", f"{figures.first.whole:.0f} s"))
    own = [[s for kind, s in run.nodes.items() if kind[:4] == "IID_"] for run in figures.instantid]
    again = max(map(sum, own))
    rows.append(("The pack's nodes anew, after a picture without them", f"{again:.2f} s"))
    return markdown(("What", "Time"), rows)


def _speed(figures: Figures) -> str:
    rows = []
    for what, field_name in (("", "steps"), (", processor time", "steps_cpu")):
        plain = [step for run in figures.plain for step in getattr(run, field_name)]
        patched = [step for run in figures.instantid for step in getattr(run, field_name)]
        ratios = [b / a for a, b in zip(plain, patched, strict=True)]
        rows += [
            (f"without InstantID{what}", *_median(plain, "s")),
            (f"with InstantID{what}", *_median(patched, "s")),
            (f"ratio of neighbours{what}", *_median(ratios, "")),
        ]
    return markdown(("One step", "median", "lowest to highest", "steps"), rows)


def _median(values: Sequence[float], unit: str) -> tuple[str, str, str]:
    unit = f" {unit}" if unit else ""
    middle = f"{statistics.median(values):.2f}{unit}"
    return middle, f"{min(values):.2f} to {max(values):.2f}{unit}", str(len(values))


def _memory(figures: Figures) -> str:
    surveys = figures.surveys.values()
    rows = [(what, *(_size(count(one)) for one in surveys)) for what, count in HELD.items()]
    peak = (
        f"Peak of the server's own memory: {_size(figures.peaks['own'])}; with mapped files, which "
        f"the system may drop: {_size(figures.peaks['resident'])}."
    )
    return markdown(("Held", *figures.surveys), rows) + "\n\n" + peak


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> str:
    """Return a Markdown table, with a title above it if there is one."""
    lines = [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"**{title}**", "", *lines] if title else lines)
