"""How often a call of the patched UNet waits for the device to read a number on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from faithful_instantid.instantid_core import host
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .predict import SIDES, conditioning
from .recording import Attention, around_attention

# Operators that read numbers, or whose output's size depends on them.
READING = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2", "unique_dim")
# Methods that copy a tensor to the host without an operator of their own, on the CPU.
COPYING = ("tolist", "cpu", "numpy", "__array__")


class Reads:
    """Counts reads of a tensor's numbers on the host, while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self._modes = (Dispatched(self), Called(self))

    def __enter__(self) -> Reads:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class Dispatched(TorchDispatchMode):
    """Sees every operator, wherever it is called: item(), bool(), int(), `if x`, x[x > 0]."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.reads.count += name in READING or by_mask
        return func(*args, **(kwargs or {}))


class Called(TorchFunctionMode):
    """Sees every method of torch."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        given = (*args, *(kwargs or {}).values())
        to_host = name == "to" and any(isinstance(x, str) and x == "cpu" for x in given)
        self.reads.count += name in COPYING or to_host
        return func(*args, **(kwargs or {}))


READ: dict[str, Callable[[torch.Tensor], Any]] = {
    "item": lambda x: x[0].item(),
    "bool": lambda x: bool(x[0] > 0),
    "int": lambda x: int(x[0]),
    "if": lambda x: 1 if x.any() else 0,
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "cpu": lambda x: x.cpu(),
    "to cpu": lambda x: x.to("cpu"),
    "to a device": lambda x: x.to(device="cpu"),
    "nonzero": lambda x: x.nonzero(),
    "by a mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "equal": lambda x: torch.equal(x, x),
    "unique": lambda x: x.unique(),
}


@pytest.mark.parametrize("way", READ)
def test_every_way_to_read_a_number_is_counted_once(way: str) -> None:
    x = torch.ones(3)
    with Reads() as reads:
        x.mul(2).index_select(0, torch.zeros(1, dtype=torch.int64)).to(torch.float64)
        assert reads.count == 0
        READ[way](x)
    assert reads.count == 1


class Calls:
    """Counts the reads of each call of the model, and of all attention calls in it."""

    def __init__(self) -> None:
        self.reads = Reads()
        self.whole: list[int] = []
        self.in_attention: list[int] = []

    def on(self, model: Any) -> Any:
        clone = around_attention(model, self._attention)
        kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL
        options = clone.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "reads", self._call, options)
        return clone

    def _call(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.in_attention.append(0)
        before = self.reads.count
        with self.reads:
            out = executor(*args, **kwargs)
        self.whole.append(self.reads.count - before)
        return out

    def _attention(self, inner: Attention) -> Attention:
        def attention(*args: Any) -> torch.Tensor:
            before = self.reads.count
            out = inner(*args)
            self.in_attention[-1] += self.reads.count - before
            return out

        return attention


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ({}, 0),
        ({"mask": torch.rand(128, 128, generator=torch.Generator().manual_seed(4))}, 0),
        ({"start_percent": 0.1, "end_percent": 0.9}, 1),
    ],
    ids=["plain", "mask", "window"],
)
def test_host_reads_are_none_in_attention_none_in_a_call_and_one_with_a_window(
    tiny_model: Any,
    identity: Any,
    official: dict[str, torch.Tensor],
    settings: dict[str, Any],
    reads: int,
) -> None:
    # Two identities: what reads once must not read for each.
    model = host.apply_adapter(tiny_model, identity, **settings)
    model = host.apply_adapter(model, identity, **settings)
    calls = Calls()
    guider = comfy.samplers.CFGGuider(calls.on(model))
    guider.set_conds(*(conditioning(official, side) for side in SIDES))
    guider.set_cfg(4.0)
    noise = torch.zeros(1, 4, 8, 8)
    with torch.inference_mode():
        guider.sample(
            noise,
            noise,
            comfy.samplers.sampler_object("euler"),
            torch.tensor([7.0, 4.0, 2.0, 0.0]),
        )
    # The first call puts masks onto the layers' grids, on the CPU; the others are every step's.
    first = 0 if "mask" not in settings else 1
    assert len(calls.whole) == 3
    assert calls.whole[first:] == [reads] * (3 - first)
    assert calls.in_attention[first:] == [0] * (3 - first)
