"""What a run is ended by, in words for the user."""

from __future__ import annotations

from collections.abc import Sequence


class QualityError(Exception):
    """Base of this package's errors: what was found, what was wanted, what to do."""


class NotReadyError(QualityError):
    """Something is missing before the first picture; the text lists all of it."""

    def __init__(self, problems: Sequence[str]) -> None:
        many = f"{len(problems)} things are" if len(problems) > 1 else "One thing is"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{many} missing before the first picture can be made:\n{lines}")
        self.problems = tuple(problems)
