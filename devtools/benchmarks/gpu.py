"""What one call of the UNet asks of a GPU: kernel launches, waits of the host, peak memory.

And the verdict of a GPU, on whole calls: there they are even enough for it.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import comfy.model_management
import torch

from ..full_size.report import markdown
from . import cases
from . import models as m
from .timing import Clock, Timings, spread

# How the names begin: the driver's functions come in several versions.
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchCooperativeKernel", "cuLaunchKernel")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
FEW, MANY = 1, 5  # calls of the two samplings whose difference is taken
PIXELS, LIMIT = 1024, 1.02  # of the picture, and of a call with the adapter over a bare one
ADAPTER = "adapter"
CLOCK = Clock(torch.device("cpu"))  # one that waits for nothing


@dataclass(frozen=True)
class Costs:
    """Of one call: kernel launches and waits; None where the profiler may not see the driver.

    peak_bytes: of a whole sampling, weights included; 0 where there is no GPU.
    """

    launches: int | None
    waits: int | None
    peak_bytes: int


def count(events: Iterable[tuple[str, int]], names: tuple[str, ...]) -> int:
    """How often functions whose names begin so were called, of (name, times)."""
    return sum(times for name, times in events if name.startswith(names))


def measure(models: m.Models, row: cases.Row) -> dict[str, Costs]:
    """Return the costs of each variant of a row; without a GPU nothing is counted."""
    _, size, batch, variants = row
    x = m.noise(size, batch)
    works = {name: partial(m.calls, *variant, x, clock=CLOCK) for name, variant in variants.items()}
    return {name: _costs(models.device, work) for name, work in works.items()}


def _costs(device: torch.device, work: Callable[..., object]) -> Costs:
    gc.collect()  # the models of other variants are taken from the GPU, so that they do not count
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    _sample(device, partial(work, count=FEW))  # loads, and chooses what is chosen once
    few, peak = _sample(device, partial(work, count=FEW))
    many, _ = _sample(device, partial(work, count=MANY))
    if count(many, LAUNCHES) == 0:
        return Costs(None, None, peak)
    launches, waits = (
        round((count(many, names) - count(few, names)) / (MANY - FEW))
        for names in (LAUNCHES, WAITS)
    )
    return Costs(launches, waits, peak)


def peaks(models: m.Models, row: cases.Row) -> dict[str, int]:
    """Return the bytes of a GPU's memory that a sampling of each variant takes beyond weights."""
    _, size, batch, variants = row
    x, found = m.noise(size, batch), dict[str, int]()
    for name, variant in variants.items():
        before, most = _memory(models.device, partial(m.calls, *variant, x, 1, CLOCK))
        found[name] = most - before
    return found


def _memory(device: torch.device, work: Callable[[], object]) -> tuple[int, int]:
    """Do something; return the bytes of a GPU's memory before it, and the most meanwhile."""
    if device.type != "cuda":
        work()
        return 0, 0
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.max_memory_allocated(device)
    work()
    torch.cuda.synchronize(device)
    return before, torch.cuda.max_memory_allocated(device)


def _sample(device: torch.device, work: Callable[[], object]) -> tuple[list[tuple[str, int]], int]:
    """Return how often each function was called in a sampling, and its peak memory in bytes.

    Without the CPU's operators, of which there are ten times as many: the driver's functions that
    are counted come with the GPU's.
    """
    activities = [torch.profiler.ProfilerActivity.CUDA]
    on_gpu = device.type == "cuda"
    with torch.profiler.profile(activities=activities) if on_gpu else nullcontext() as profile:
        _, peak = _memory(device, work)
    events = profile.key_averages() if profile else []
    return [(event.key, event.count) for event in events], peak


def table(title: str, rows: Mapping[str, Mapping[str, Costs]]) -> str:
    """Return a Markdown table of launches, waits and memory."""
    lines: list[Sequence[str]] = []
    for row, variants in rows.items():
        for name, costs in variants.items():
            peak = f"{costs.peak_bytes / (1 << 30):.2f} GiB"
            counts = ("?" if n is None else str(n) for n in (costs.launches, costs.waits))
            lines.append((row, name, *counts, peak))
    head = ("", "variant", "launches", "waits", "peak memory")
    return markdown(head, lines, title)


def verdict(rows: Mapping[str, Timings]) -> str:
    """Say in one line whether a whole call keeps the limit, of the adapter case's rows."""
    timings = rows.get(f"{PIXELS}x{PIXELS}")
    if timings is None:
        return f"NO VERDICT: {PIXELS} is not among --pixels, and a GPU's limit is for that size"
    ratios = timings.ratios(ADAPTER)
    ratio, (low, high) = statistics.median(ratios), spread(ratios)
    word = "PASS" if ratio <= LIMIT else "FAIL"
    return (
        f"{word}: a call with the adapter takes {ratio:.4f} of a bare one at {PIXELS}x{PIXELS} "
        f"(quartiles {low:.4f} to {high:.4f}, {len(ratios)} pairs; limit {LIMIT})"
    )
