"""Benchmarks compare neighbours in time, and say how far the figures spread."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from faithful_instantid.devtools.benchmarks import timing


def test_each_round_runs_every_variant_once_in_an_order_that_turns_round() -> None:
    order: list[str] = []

    def variant(name: str, seconds: float) -> Callable[[], float]:
        def run() -> float:
            order.append(name)
            return seconds

        return run

    timings = timing.paired({"bare": variant("bare", 2), "patched": variant("patched", 3)}, 3)
    assert order == ["bare", "patched", "patched", "bare", "bare", "patched"]
    assert timings.seconds == {"bare": [2, 2, 2], "patched": [3, 3, 3]}


def test_a_ratio_is_taken_within_each_round_so_that_a_slow_minute_does_not_count() -> None:
    timings = timing.Timings({"bare": [1.0, 10.0, 1.0], "patched": [1.1, 11.0, 1.1]})
    assert timings.ratios("patched") == pytest.approx([1.1, 1.1, 1.1])
    figures = timings.to_json()["patched"]
    assert figures["ratio"] == pytest.approx(1.1)
    assert figures["ratio_spread"] == pytest.approx((1.1, 1.1))


def test_the_spread_is_the_quartiles_or_all_of_a_few_values() -> None:
    assert timing.spread([3.0, 1.0, 2.0]) == (1.0, 3.0)
    low, high = timing.spread([float(i) for i in range(1, 12)])
    assert (low, high) == (3.0, 9.0)


def test_the_table_has_a_line_for_each_variant_with_median_ratio_and_spread() -> None:
    timings = timing.Timings({"bare": [0.1, 0.2, 0.1], "patched": [0.11, 0.22, 0.12]})
    text = timing.table("title", {"512x512": timings})
    assert "| 512x512 | bare | 100.0 ms | 1.000 | 1.000 to 1.000 | 3 |" in text
    assert "| 512x512 | patched | 120.0 ms | 1.100 | 1.100 to 1.200 | 3 |" in text


def test_the_clock_times_the_work_and_not_what_is_around_it() -> None:
    calls: list[int] = []
    seconds = timing.Clock(torch.device("cpu")).time(lambda: calls.append(1))
    assert calls == [1]
    assert 0 <= seconds < 1
