"""What several people cost in one call: rows, and their own time beside that of one person's call.

Work is timed where it happens, by the clock of `adapter_share`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...instantid_core.host import apply_adapter
from ..full_size.report import markdown
from . import cases
from . import models as m
from .adapter_share import CALLS, OwnTime
from .timing import Clock

COUNTS = (1, 2, 4, 8)
LIMIT = (4, 0.10)  # people, and what they may add to the call of one person, as a share of it
CHAINED = (2, 4)  # people for whom the usual recipe is timed as well, once
ROWS_PIXELS = 64  # rows are counted on a small picture: their number does not depend on its size


@dataclass
class Rows:
    """How many rows one call sends through the UNet and through IdentityNet."""

    unet: int = 0
    identitynet: int = 0


@dataclass
class Crowd:
    """Of so many people: seconds of their own in each call, seconds of the calls, and rows.

    chained: rows of the usual recipe. chained_whole: seconds of one call of it, None if not timed.
    """

    people: int
    own: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    chained: Rows = field(default_factory=Rows)
    chained_whole: float | None = None


def count_rows(models: m.Models, variant: cases.Variant) -> Rows:
    """Count the rows of one call of a variant."""
    net, control = models.model.model.diffusion_model, models.control_net.control_model
    seen: list[list[int]] = [[], []]
    handles = [
        module.register_forward_pre_hook(lambda _, given, to=to: to.append(len(given[0])))
        for module, to in zip((net, control.middle_block_out), seen, strict=True)
    ]
    try:
        m.calls(*variant, m.noise(ROWS_PIXELS, 1), 0, Clock(models.device))
    finally:
        for handle in handles:
            handle.remove()
    return Rows(*map(sum, seen))


def measure(models: m.Models, pixels: int, rounds: int) -> list[Crowd]:
    """Measure each number of people, alternately, for `rounds` rounds of CALLS calls."""
    crowds = [Crowd(count) for count in COUNTS]
    for _ in range(rounds):
        for crowd in crowds:
            _time(models, pixels, crowd)
    for crowd in crowds:
        people = cases.crowd(models, ROWS_PIXELS, crowd.people)
        crowd.rows = count_rows(models, cases.both(models, people, ROWS_PIXELS))
        crowd.chained = count_rows(models, cases.chained(models, people))
        if crowd.people in CHAINED:
            variant = cases.chained(models, cases.crowd(models, pixels, crowd.people))
            x, clock = m.noise(pixels, 1), Clock(models.device)
            crowd.chained_whole = m.calls(*variant, x, 1, clock)[0][0]
    return crowds


def _time(models: m.Models, pixels: int, crowd: Crowd) -> None:
    people = cases.crowd(models, pixels, crowd.people)
    inside = OwnTime(models.device)
    patched = inside.on(models.model, lambda model: apply_adapter(model, people))
    _, positive, negative = cases.identitynet(models, people, pixels)
    x, clock = m.noise(pixels, 1), Clock(models.device)
    with inside.also_of(models.control_net.control_model):
        crowd.whole += m.calls(patched, positive, negative, x, CALLS, clock)[0]
    crowd.own += inside.calls[1:]


def added(crowds: Sequence[Crowd], people: int) -> float:
    """What so many people add to the call of one person, as a share of it."""
    one = crowds[0]
    several = next(crowd for crowd in crowds if crowd.people == people)
    extra = statistics.median(several.own) - statistics.median(one.own)
    return extra / statistics.median(one.whole)


def table(title: str, crowds: Sequence[Crowd]) -> str:
    """Return a Markdown table of rows and time, the usual recipe in the last two columns."""
    head = ("people", "rows (UNet, IdentityNet)", "own time", "added to one person's call", "call")
    lines: list[Sequence[str]] = []
    for crowd in crowds:
        own, whole = (f"{statistics.median(x) * 1000:.1f} ms" for x in (crowd.own, crowd.whole))
        rows, chained = (f"{r.unet}, {r.identitynet}" for r in (crowd.rows, crowd.chained))
        share = f"{added(crowds, crowd.people):.4f}"
        seconds = crowd.chained_whole
        recipe = "not timed" if seconds is None else f"{seconds * 1000:.1f} ms"
        lines.append((str(crowd.people), rows, own, share, whole, chained, recipe))
    head += ("rows, chained recipe", "call, chained recipe")
    return markdown(head, lines, title)


def verdict(crowds: Sequence[Crowd], pixels: int) -> str:
    """Say in one line whether time and rows keep the limit, with the figures."""
    people, limit = LIMIT
    extra, as_one = added(crowds, people), all(crowd.rows == crowds[0].rows for crowd in crowds)
    word = "PASS" if extra <= limit and as_one else "FAIL"
    rows = "; ".join(f"{c.people}: {c.rows.unet}, {c.rows.identitynet}" for c in crowds)
    return (
        f"{word}: {people} people add {extra:.4f} of one person's call at "
        f"{pixels}x{pixels} (limit {limit}); rows of UNet and IdentityNet by people: {rows}"
    )
