"""A bounded memory of what was found in which picture."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")
PictureKey = tuple[tuple[int, ...], bytes]  # shape, and a hash of the content


class RecentlyUsed(Generic[Value]):
    """Keeps the `capacity` values asked for last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value kept under `key`, made now where it is not there."""
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)


def content_key(array: NDArray[np.uint8]) -> PictureKey:
    """Return what is equal for equal pictures and different for different ones."""
    data = np.ascontiguousarray(array)
    return data.shape, hashlib.blake2b(data.data, digest_size=16).digest()


class Hashed:
    """The key of a picture's content, made once; it speaks of that very array only."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.key = content_key(picture)
        self._picture = weakref.ref(picture)

    def is_of(self, picture: NDArray[np.uint8]) -> bool:
        """Say whether this is the array that was hashed."""
        return self._picture() is picture
