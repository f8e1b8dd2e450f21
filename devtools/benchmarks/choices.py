"""What choices of a user cost: kept lengths, regions that open, IdentityNet at some steps only.

Own time of the adapter as in `adapter_share`, in calls at falling noise levels, beside a bare call
of the same round. IdentityNet's own time is what a run with it takes more than one without. On the
CPU these are seconds of the process: runs are long, and what else a machine does is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...instantid_core.host import apply_adapter, apply_identitynet
from ...instantid_core.regions import FaceRegion, Outline
from ...instantid_core.weighting import Adding, eased
from . import models as m
from .adapter_share import OwnTime
from .around import Setup
from .timing import Clock, Timings, paired

CALLS = 3  # of which an own time is the median
STEPS = 12  # of a run; a multiple of what `every` is tried with
BARE, PLAIN, KEPT, FIXED, OPENS = "bare call", "plain", "keep length", "region", "region that opens"
EVERY = {1: "every step", 2: "every 2nd step", 3: "every 3rd step"}
MORE = 0.01  # of a bare call, that kept lengths and an opening region may take more
SAVED = {2: 0.45, 3: 0.6}  # of IdentityNet's time over a run, at least

Figures = Mapping[str, Timings]


class _Clock(Clock):
    """Seconds of the process on the CPU."""

    def time(self, work: Callable[[], object]) -> float:
        if self.cuda:
            return super().time(work)
        started = time.process_time()
        work()
        return time.process_time() - started


def choices(setup: Setup) -> dict[str, Timings]:
    """Time the adapter's own work by choice, and runs with IdentityNet at every n-th step."""
    models, size = setup.models(), setup.pixels
    identity, clock = models.identity(1), _Clock(models.device)
    x = m.noise(size, 1)
    sides = (models.positive, models.negative)
    keypoints = m.keypoints(size)
    outline = Outline(padding=0.2, feather=0.3)
    region = FaceRegion(keypoints, outline=outline)
    opening = FaceRegion(keypoints, outline=outline, curve=eased("linear", 0.2, 1.0))

    def bare() -> float:
        seconds, _ = m.calls(models.model, *sides, x, CALLS, clock, m.FALL)
        return statistics.median(seconds)

    def own(**settings: Any) -> Callable[[], float]:
        def one() -> float:
            inside = OwnTime(models.device, time.process_time)
            model = inside.on(models.model, lambda lent: apply_adapter(lent, identity, **settings))
            m.calls(model, *sides, x, CALLS, clock, m.FALL)
            return statistics.median(inside.calls[1:])

        return one

    def run(every: int | None) -> Callable[[], float]:
        def one() -> float:
            conds: Any = sides
            if every is not None:
                given = (models.control_net, identity, keypoints)
                conds = apply_identitynet(*sides, *given, every=every)
            return sum(m.calls(models.model, *conds, x, STEPS, clock, m.FALL)[0])

        return one

    shares = {
        BARE: bare,
        PLAIN: own(),
        KEPT: own(adding=Adding.KEEP_LENGTH),
        FIXED: own(mask=region),
        OPENS: own(mask=opening),
    }
    runs = {BARE: run(None), **{words: run(every) for every, words in EVERY.items()}}
    return {
        f"own time of a call at {size}x{size}": paired(shares, setup.rounds),
        f"{STEPS} steps at {size}x{size}": paired(runs, setup.rounds),
    }


def verdict(figures: Figures) -> str:
    """Say in one line whether the limits hold, with the figures."""
    own, runs = figures.values()
    more = {
        words: (own.median(words) - own.median(plain)) / own.median(BARE)
        for words, plain in ((KEPT, PLAIN), (OPENS, FIXED))
    }
    whole = runs.median(EVERY[1]) - runs.median(BARE)
    saved = {every: 1 - (runs.median(EVERY[every]) - runs.median(BARE)) / whole for every in SAVED}
    is_kept = all(share <= MORE for share in more.values())
    is_kept = is_kept and all(saved[every] >= least for every, least in SAVED.items())
    told = [
        f"{words} takes {share:.4f} of a bare call more (limit {MORE})"
        for words, share in more.items()
    ]
    told += [
        f"IdentityNet at {EVERY[every]} saves {share:.2f} of its time (at least {SAVED[every]})"
        for every, share in saved.items()
    ]
    return f"{'PASS' if is_kept else 'FAIL'}: {'; '.join(told)}"


CASES: dict[str, Callable[[Setup], dict[str, Timings]]] = {"choices": choices}
