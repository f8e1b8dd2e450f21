"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def bar(what: str, done: int = 0) -> Callable[[Sequence[Item]], Iterator[Item]]:
    """Return what draws a bar while it gives out items. done: how many were so beforehand."""

    def watch(items: Sequence[Item]) -> Iterator[Item]:
        from tqdm import tqdm

        total = done + len(items)
        with tqdm(total=total, initial=done, desc=what, unit="picture", dynamic_ncols=True) as line:
            for item in items:
                yield item
                line.update()

    return watch
