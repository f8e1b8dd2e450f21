"""What the layers of a patched UNet ask of the device, counted on the profiler's record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.host.resident import Resident
from faithful_instantid.instantid_core.host.sampling import RUN
from faithful_instantid.instantid_core.identity import IdentitySide
from faithful_instantid.instantid_core.people import People, Person
from faithful_instantid.instantid_core.unet_layout import SDXL, UNetLayout
from torch.autograd.profiler_util import FunctionEvent

from .predict import SIDES, conditioning
from .recording import around_attention

LAYER, ATTENTION = "a layer", "attention"
AT_MOST = 3  # operators of the adapter in a layer, for each identity
GATHERS = {"index", "index_select", "gather", "take", "cat", "stack", "repeat", "embedding"}
READS = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "equal"}
# They give another look at the same memory: nothing is asked of the device.
VIEWS = {"view", "view_as", "unflatten", "slice", "select", "unbind", "as_strided", "alias"}
VIEWS |= {"_unsafe_view", "_reshape_alias", "narrow", "unsqueeze"}


def marked(inner: Callable[..., torch.Tensor], name: str) -> Callable[..., torch.Tensor]:
    """Return a function that does the same under a name in the profiler's record."""

    def run(*args: Any, **kwargs: Any) -> torch.Tensor:
        with torch.profiler.record_function(name):
            return inner(*args, **kwargs)

    return run


def marked_attention(inner: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Run attention under its name; ComfyUI's own place for it, an override, calls this."""
    kwargs["transformer_options"] = {
        key: value
        for key, value in kwargs["transformer_options"].items()
        if key != "optimized_attention_override"
    }
    return marked(inner, ATTENTION)(*args, **kwargs)


def recorded(model: Any, official: dict[str, torch.Tensor], batch: int = 1) -> list[Any]:
    """Sample two steps; return the profiler's events of the second: masks are laid by then.

    Layers and attention have their names in it.
    """
    clone = around_attention(model, lambda inner: marked(inner, LAYER))
    options = clone.model_options["transformer_options"]
    options["optimized_attention_override"] = marked_attention
    calls = Profiled()
    kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL
    comfy.patcher_extension.add_wrapper_with_key(kind, "profiled", calls, options)
    guider = comfy.samplers.CFGGuider(clone)
    guider.set_conds(*(conditioning(official, side) for side in SIDES))
    guider.set_cfg(4.0)
    noise = torch.zeros(batch, 4, 8, 8)
    sampler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        guider.sample(noise, noise, sampler, torch.tensor([7.0, 4.0, 0.0]))
    assert calls.number == 2
    return calls.events


class Profiled:
    """Records the second call of the model."""

    def __init__(self) -> None:
        self.number = 0
        self.events: list[Any] = []

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.number += 1
        if self.number != 2:
            return executor(*args, **kwargs)
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, acc_events=True) as profile:
            out = executor(*args, **kwargs)
        self.events = list(profile.events())
        return out


def of_the_adapter(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """Yield the operators right inside of a layer; what runs inside of attention is its own."""
    for child in event.cpu_children:
        if child.name != ATTENTION:
            yield child


def everything_in(event: FunctionEvent) -> Iterator[FunctionEvent]:
    """Yield an event's descendants."""
    for child in event.cpu_children:
        yield child
        yield from everything_in(child)


def name_of(event: FunctionEvent) -> str:
    return event.name.removeprefix("aten::")


def is_view(event: FunctionEvent) -> bool:
    """Whether an operator, or all that it calls, only looks at memory that is there."""
    if event.cpu_children:
        return all(is_view(child) for child in event.cpu_children)
    return name_of(event) in VIEWS


def layers_of(events: Sequence[FunctionEvent]) -> list[FunctionEvent]:
    layers = [event for event in events if event.name == LAYER]
    assert len(layers) == 70
    return layers


def two_people(identity: Any, second_identity: Any) -> People:
    left = torch.zeros(1, 64, 64)
    left[:, :, :32] = 1.0
    return People((Person(identity, None, left), Person(second_identity, None, 1.0 - left)))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_layer_has_three_operators_of_the_adapter_at_most_and_no_call_gathers_or_reads(
    tiny_model: Any, identity: Any, official: dict[str, torch.Tensor], batch: int
) -> None:
    model = host.apply_adapter(tiny_model, identity)
    held: list[int] = []
    looked_at(model, batch, held)
    events = recorded(model, official, batch)
    assert held == [identity.positive.kv.nbytes + identity.negative.kv.nbytes] * 2
    for layer in layers_of(events):
        names = [name_of(event) for event in of_the_adapter(layer)]
        assert "add" in names and len(names) <= AT_MOST, names
        assert not {*names} & GATHERS
        assert not {name_of(event) for event in everything_in(layer)} & READS
    # Outside of the layers, too: not even once in a call, as the sides are views.
    assert not {name_of(event) for event in events} & {"index_select", "gather"}


def looked_at(model: Any, batch: int, held: list[int]) -> None:
    """Look at what is resident in each call: K and V of the call's rows are a part of it."""

    def look(executor: Any, *args: Any, **kwargs: Any) -> Any:
        x, run = args[0], args[5][RUN]
        resident = run.resident(x.device, x.dtype)
        owned = {table.untyped_storage().data_ptr() for table in resident.slots[0]}
        for k, v in resident.kv(0, (0,) * batch + (1,) * batch):
            assert len(k) == len(v) == 2
            assert {part.untyped_storage().data_ptr() for part in (k, v)} <= owned
        held.append(resident.nbytes)
        return executor(*args, **kwargs)

    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    options = model.model_options["transformer_options"]
    comfy.patcher_extension.add_wrapper_with_key(kind, "look", look, options)


def test_with_masks_a_layer_asks_the_device_three_times_at_most_for_each_person(
    tiny_model: Any, identity: Any, second_identity: Any, official: dict[str, torch.Tensor]
) -> None:
    model = host.apply_adapter(tiny_model, two_people(identity, second_identity))
    for layer in layers_of(recorded(model, official, batch=2)):
        asked = [name_of(e) for e in of_the_adapter(layer) if not is_view(e)]
        assert "addcmul_" in asked and len(asked) <= AT_MOST * 2, asked
        assert not {*asked} & (GATHERS | READS)


ROLES: dict[str, tuple[tuple[int, ...], int, bool]] = {
    "negative first": ((0, 1), 2, True),
    "one side": ((1, 1, 1), 1, True),
    "a batch": ((0, 0, 0, 1, 1, 1), 2, True),
    "positive first": ((1, 0), 2, False),
    "two texts": ((0, 1, 1), 3, False),
    "in turn": ((0, 1, 0, 1), 4, False),
}


@pytest.mark.parametrize(("roles", "sides", "is_view"), ROLES.values(), ids=ROLES)
def test_rows_of_any_order_get_their_own_side_and_usual_orders_without_a_copy(
    roles: tuple[int, ...], sides: int, is_view: bool
) -> None:
    """Two people who share the negative side, in a UNet of two layers."""
    layout = UNetLayout(SDXL, channels=(4, 8), context_width=16)
    numbers = 2 * 5 * 12  # K and V of five tokens
    shared, one, other = (
        IdentitySide(torch.zeros(1, 5, 16), torch.full((numbers,), float(value)))
        for value in range(3)
    )
    resident = Resident(
        [[shared, one], [shared, other]], layout, torch.device("cpu"), torch.float32
    )
    for term, positive in enumerate((1.0, 2.0)):
        wanted = torch.tensor([positive if role else 0.0 for role in roles])
        for table, (k, v) in zip(resident.slots[term], resident.kv(term, roles), strict=True):
            assert len(k) == sides
            for x in (k, v):
                each = x.repeat_interleave(len(roles) // sides, dim=0)
                assert torch.equal(each[:, 0, 0], wanted)
                shares = x.untyped_storage().data_ptr() == table.untyped_storage().data_ptr()
                assert shares == is_view
    assert resident.nbytes == 3 * numbers * 4
