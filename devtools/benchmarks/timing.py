"""Paired timing: every variant once in each round, so that a ratio compares neighbours in time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..full_size.report import markdown


class MeaninglessError(RuntimeError):
    """What was timed is not what it should be: its time would mean nothing. The text says why."""


@dataclass
class Timings:
    """Seconds of each variant by round. The first variant is what the others are compared with."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return next(iter(self.seconds))

    def median(self, variant: str) -> float:
        return statistics.median(self.seconds[variant])

    def ratios(self, variant: str) -> list[float]:
        """The variant's seconds over those of the base, round by round."""
        pairs = zip(self.seconds[variant], self.seconds[self.base], strict=True)
        return [one / base for one, base in pairs]

    def to_json(self) -> dict[str, Any]:
        return {
            name: {
                "seconds": seconds,
                "median": self.median(name),
                "ratio": statistics.median(self.ratios(name)),
                "ratio_spread": spread(self.ratios(name)),
            }
            for name, seconds in self.seconds.items()
        }


def spread(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile; lowest and highest of fewer than four values."""
    if len(values) < 4:
        return min(values), max(values)
    lower, _, upper = statistics.quantiles(values, n=4)
    return lower, upper


def paired(variants: Mapping[str, Callable[[], float]], rounds: int) -> Timings:
    """Run every variant once per round, in an order that turns round; each returns its seconds."""
    timings = Timings({name: [] for name in variants})
    for number in range(rounds):
        for name in variants if number % 2 == 0 else reversed(variants):
            timings.seconds[name].append(variants[name]())
    return timings


class Clock:
    """Seconds of work on a device: CUDA events on a GPU, the wall clock elsewhere."""

    def __init__(self, device: Any) -> None:
        self.cuda = device.type == "cuda"

    def time(self, work: Callable[[], object]) -> float:
        if not self.cuda:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started
        import torch

        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000


def table(title: str, rows: Mapping[str, Timings]) -> str:
    """Return a Markdown table: for each row (a size, a count) the medians and ratios."""
    lines: list[Sequence[str]] = []
    for row, timings in rows.items():
        for name, seconds in timings.seconds.items():
            ratios = timings.ratios(name)
            low, high = spread(ratios)
            figures = (f"{timings.median(name) * 1000:.1f} ms", f"{statistics.median(ratios):.3f}")
            lines.append((row, name, *figures, f"{low:.3f} to {high:.3f}", str(len(seconds))))
    head = ("", "variant", "median", "ratio", "quartiles of the ratio", "rounds")
    return markdown(head, lines, title)
