"""How strongly an identity acts, layer by layer and step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from . import checks
from .errors import WrongInputError
from .unet_layout import SDXL, Block, Family, Slot

# The blocks of an SDXL UNet that have cross-attention, in the order of the calculation.
GROUPS: tuple[Block, ...] = (*SDXL.down_blocks, ("middle", 0), *SDXL.up_blocks)
_DOWN, _UP = len(SDXL.down_blocks), len(SDXL.up_blocks)  # before and after the middle


@dataclass(frozen=True)
class LayerWeights:
    """Factors on the weight, one for each of GROUPS; 1 leaves a group as it is.

    Another family's blocks share them: of its down blocks the first ones have the first factor of
    those four, and so on; its up blocks likewise.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(GROUPS) or not all(map(_ordinary, self.values)):
            found = checks.readable(", ".join(f"{value:g}" for value in self.values))
            raise WrongInputError(
                f"The layer weights are {len(self.values)} numbers: {found}. Wanted: "
                f"{len(GROUPS)} numbers with commas between: four for the down blocks, one for "
                "the middle, six for the up blocks. 1 leaves a block as it is, 0 turns it off."
            )

    @classmethod
    def of_parts(cls, down: float, middle: float, up: float) -> LayerWeights:
        """Return the weights with one factor for each of the three parts of the UNet."""
        down, middle = checks.number(down, "down"), checks.number(middle, "middle")
        up = checks.number(up, "up")
        return cls((down,) * _DOWN + (middle,) + (up,) * _UP)

    @classmethod
    def parsed(cls, text: str) -> LayerWeights:
        """Return the weights written as eleven numbers with commas or spaces between."""
        return cls(tuple(_numbers(text, "layer weights")))

    def of_slot(self, slot: Slot, family: Family = SDXL) -> float:
        """Return the factor for a cross-attention layer of a family's UNet."""
        block = slot[:2]
        if block in family.down_blocks:
            return self._down(family.down_blocks.index(block), family)
        if block in family.up_blocks:
            place = family.up_blocks.index(block) * _UP // len(family.up_blocks)
            return self.values[_DOWN + 1 + place]
        return self.values[_DOWN]

    def of_residual(self, block: int | None, family: Family = SDXL) -> float:
        """Return the factor for IdentityNet's residual of an input block; None is the middle.

        A block without cross-attention goes with the next one that has it.
        """
        if block is None:
            return self.values[_DOWN]
        later = [i for i, (_, index) in enumerate(family.down_blocks) if index >= block]
        return self._down(later[0] if later else len(family.down_blocks) - 1, family)

    def _down(self, place: int, family: Family) -> float:
        return self.values[place * _DOWN // len(family.down_blocks)]


def slot_weights(
    weight: float, layers: LayerWeights | None, family: Family = SDXL
) -> tuple[float, ...]:
    """Return the weight of every cross-attention layer, in the order of the family's slots."""
    if layers is None:
        return (weight,) * len(family.slots)
    return tuple(weight * layers.of_slot(slot, family) for slot in family.slots)


class Adding(str, Enum):
    """How the identity's share is added to the text's in a cross-attention layer.

    PLAIN: as it is, the published way. KEEP_LENGTH: brought to the length of the text's share
    first, in each layer and for each person, so that neither drowns the other.
    """

    PLAIN = "plain"
    KEEP_LENGTH = "keep length"

    @classmethod
    def _missing_(cls, value: object) -> Adding:
        raise checks.unknown("adding", value, [adding.value for adding in cls])


@dataclass(frozen=True)
class WeightCurve:
    """A factor on the weight over the sampling, straight between points.

    points: (percent, factor), percent from 0 (begin of the sampling) to 1, ascending; before the
    first and after the last point the factor stays.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        percents = [percent for percent, _ in self.points]
        finite = all(_ordinary(number) for point in self.points for number in point)
        inside = all(0 <= percent <= 1 for percent in percents)
        if not percents or not finite or not inside or percents != sorted(percents):
            raise _curve_error(
                ", ".join(f"{percent:g}:{factor:g}" for percent, factor in self.points)
            )

    def at(self, percent: float) -> float:
        """Return the factor at a percent of the sampling, 0..1."""
        before = self.points[0]
        for point in self.points:
            if percent <= point[0]:
                return _between(before, point, percent)
            before = point
        return before[1]

    @property
    def is_off(self) -> bool:
        """Whether the factor is 0 all the time."""
        return not any(factor for _, factor in self.points)


class PercentTable:
    """From a noise level back to the percent of the sampling it stands for."""

    def __init__(self, noise_level: Callable[[float], float]) -> None:
        """noise_level: the level at a percent, 0..1; it falls from percent 0 to percent 1."""
        self._levels = [noise_level(i / _TABLE) for i in range(_TABLE + 1)]

    def percent(self, level: float) -> float:
        """Return the percent, 0..1; between the table's levels it is straight."""
        later = next((i for i, known in enumerate(self._levels) if known <= level), _TABLE)
        if later == 0:
            return 0.0
        above, below = self._levels[later - 1], self._levels[later]
        part = (above - level) / (above - below) if math.isfinite(above) and above > below else 1.0
        return (later - 1 + min(max(part, 0.0), 1.0)) / _TABLE


_TABLE = 256

EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "ease_in": lambda x: x * x,
    "ease_out": lambda x: 1 - (1 - x) ** 2,
    "ease_in_out": lambda x: x * x * (3 - 2 * x),
}
_STEPS = 32


def eased(ease: str, start: float, end: float) -> WeightCurve:
    """Return a curve from a factor at the begin to one at the end of the sampling.

    ease: linear, ease_in (slow at first), ease_out (slow at last), ease_in_out.
    """
    if ease not in tuple(EASES):
        raise checks.unknown("curve", ease, EASES)
    start, end = checks.number(start, "start"), checks.number(end, "end")
    points = [(i / _STEPS, EASES[ease](i / _STEPS)) for i in range(_STEPS + 1)]
    return WeightCurve(tuple((x, start + (end - start) * y) for x, y in points))


def parse_curve(text: str) -> WeightCurve:
    """Return the curve written as points: "0:1, 0.5:0.8, 1:0"."""
    points: list[tuple[float, float]] = []
    for part in text.replace(";", ",").replace("\n", ",").split(","):
        if part.strip():
            numbers = _numbers(part.replace(":", " "), "weight curve")
            if len(numbers) != 2:
                raise _curve_error(text)
            points.append((numbers[0], numbers[1]))
    return WeightCurve(tuple(points))


def _ordinary(number: float) -> bool:
    return abs(number) <= checks.LARGEST


def _between(a: tuple[float, float], b: tuple[float, float], percent: float) -> float:
    if b[0] <= a[0] or percent >= b[0]:
        return b[1]
    return a[1] + (b[1] - a[1]) * (percent - a[0]) / (b[0] - a[0])


def _numbers(text: str, what: str) -> Sequence[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise WrongInputError(
            f"Not everything in the {what} is a number: {checks.shown(text)}. Write numbers such "
            "as 1 or 0.5 only."
        ) from error


def _curve_error(found: str) -> WrongInputError:
    return WrongInputError(
        f"The weight curve is {checks.shown(found) if found else 'empty'}. "
        "Wanted: points as share of the sampling : factor, with "
        'commas between, shares ascending from 0 to 1; for example "0:1, 0.5:0.8, 1:0".'
    )
