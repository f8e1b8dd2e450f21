"""The part of a sampling in which something is at work."""

from __future__ import annotations

from dataclasses import dataclass

from .. import checks


@dataclass(frozen=True)
class Window:
    """start, end: 0..1 of the sampling; at work in between, both included."""

    start: float
    end: float

    @classmethod
    def checked(cls, start_percent: object, end_percent: object) -> Window:
        """Return the window of two inputs; WrongInputError for what is no number."""
        return cls(
            checks.number(start_percent, "start_percent"), checks.number(end_percent, "end_percent")
        )

    @property
    def is_part(self) -> bool:
        """Whether it may be shut at some step."""
        return self.start > 0.0 or self.end < 1.0

    @property
    def never_opens(self) -> bool:
        """Whether it is shut at every step."""
        return self.start >= 1.0 or self.end <= 0.0 or self.start > self.end

    @property
    def reason(self) -> str:
        """Why it never opens."""
        if self.start > self.end:
            return f"it starts at {self.start:g}, after its end at {self.end:g}."
        return f"from {self.start:g} to {self.end:g} of the sampling there is no step."
