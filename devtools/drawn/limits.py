"""What the trained chain must reach: so many of so many pictures, in two forms."""

from __future__ import annotations

import os
from dataclasses import dataclass

LONG = os.environ.get("INSTANTID_TESTS_LONG") == "1"


@dataclass(frozen=True)
class Limit:
    """At least (of some, at most) `enough` of `tries`; `short` is what CI runs.

    wish: what a chain trained to the end should reach, of as many as `long` tries.
    """

    short: tuple[int, int]
    long: tuple[int, int]
    wish: int

    @property
    def enough(self) -> int:
        return (self.long if LONG else self.short)[0]

    @property
    def tries(self) -> range:
        return range((self.long if LONG else self.short)[1])


LIMITS = {
    "right after the VAE": Limit((19, 20), (19, 20), 19),
    "right with InstantID": Limit((8, 10), (18, 20), 18),
    "right without InstantID": Limit((2, 10), (4, 20), 4),
    "prompt with InstantID": Limit((8, 10), (17, 20), 17),
    "face within 4 px": Limit((8, 10), (16, 20), 17),
    "changed keypoints followed": Limit((2, 3), (5, 8), 8),
    "two people right": Limit((1, 8), (7, 20), 18),
    "two people not mixed": Limit((5, 8), (16, 20), 18),
    "two people within 4 px": Limit((4, 8), (11, 20), 18),
    "region nearer outside": Limit((2, 3), (6, 8), 8),
    "prompt with negative identity": Limit((2, 3), (6, 8), 8),
    "second ControlNet in place": Limit((2, 3), (6, 8), 8),
}

FEW = range(8 if LONG else 4)  # people over whom a mean likeness is taken
