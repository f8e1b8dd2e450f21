"""What the trained chain must reach: so many of so many pictures, in two forms."""

from __future__ import annotations

import os
from dataclasses import dataclass

LONG = os.environ.get("INSTANTID_TESTS_LONG") == "1"


@dataclass(frozen=True)
class Limit:
    """At least (of some, at most) `enough` of `tries`; `short` is what CI runs."""

    short: tuple[int, int]
    long: tuple[int, int]

    @property
    def enough(self) -> int:
        return (self.long if LONG else self.short)[0]

    @property
    def tries(self) -> range:
        return range((self.long if LONG else self.short)[1])


LIMITS = {
    "right after the VAE": Limit((19, 20), (19, 20)),
    "right with InstantID": Limit((8, 10), (18, 20)),
    "right without InstantID": Limit((2, 10), (4, 20)),
    "prompt with InstantID": Limit((8, 10), (17, 20)),
    "face within 4 px": Limit((8, 10), (16, 20)),
    "changed keypoints followed": Limit((2, 3), (5, 8)),
    "two people right": Limit((1, 8), (7, 20)),
    "two people not mixed": Limit((5, 8), (16, 20)),
    "two people within 4 px": Limit((4, 8), (11, 20)),
    "region nearer outside": Limit((2, 3), (6, 8)),
    "prompt with negative identity": Limit((2, 3), (6, 8)),
    "second ControlNet in place": Limit((2, 3), (6, 8)),
}

FEW = range(8 if LONG else 4)  # people over whom a mean likeness is taken
