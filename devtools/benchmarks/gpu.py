"""What one call of the UNet asks of a GPU: kernel launches, waits of the host, peak memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from . import cases
from . import models as m
from .timing import Clock

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Costs:
    """Of one call, with what the sampling around it does; differences between variants count."""

    launches: int
    waits: int
    peak_bytes: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def count(events: Iterable[tuple[str, int]], names: Iterable[str]) -> int:
    """How often functions of these names were called, of (name, times)."""
    wanted = set(names)
    return sum(times for name, times in events if name in wanted)


def measure(models: m.Models, row: cases.Row) -> dict[str, Costs]:
    """Return the costs of each variant of a row; on a CUDA device only."""
    _, size, batch, variants = row
    x = m.noise(models, size, batch)
    return {name: _costs(models, variant, x) for name, variant in variants.items()}


def _costs(models: m.Models, variant: cases.Variant, x: torch.Tensor) -> Costs:
    clock = Clock(models.device)
    m.calls(*variant, x, 1, clock)  # what is loaded and chosen once is not counted
    torch.cuda.reset_peak_memory_stats(models.device)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        m.calls(*variant, x, 1, clock)
    events = [(event.key, event.count) for event in profile.key_averages()]
    peak = torch.cuda.max_memory_allocated(models.device)
    # m.calls makes two calls: the one that moves things and the timed one.
    return Costs(count(events, LAUNCHES) // 2, count(events, WAITS) // 2, peak)


def table(title: str, rows: Mapping[str, Mapping[str, Costs]]) -> str:
    """Return a Markdown table of launches, waits and memory."""
    lines: list[tuple[Any, ...]] = [("", "variant", "launches", "waits", "peak memory")]
    lines.append(("---",) * 5)
    for row, variants in rows.items():
        for name, costs in variants.items():
            peak = f"{costs.peak_bytes / (1 << 30):.2f} GiB"
            lines.append((row, name, str(costs.launches), str(costs.waits), peak))
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)
