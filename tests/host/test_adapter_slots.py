"""Each of the 70 layers adds what its own weights in the file give, and no other layer's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.identity import Identity, IdentitySide
from faithful_instantid.instantid_core.unet_layout import SDXL
from torch.nn.functional import linear

from .naive_adapter import attention, layer_numbers
from .predict import SIDES, conditioning, noise_of, predict
from .recording import Attention, around_attention

WEIGHT = 0.8
ROUNDING = 1e-5  # fp32, one attention
ANOTHER = 0.1  # what another layer's K and V give is at least this far away

Slot = tuple[str, int, int]
Added = dict[Slot, tuple[torch.Tensor, torch.Tensor, int]]
Distances = tuple[dict[Slot, float], dict[tuple[Slot, Slot], float]]


def record(model: Any, official: dict[str, torch.Tensor]) -> Added:
    """Run the UNet once: for each slot its queries (2,n,C), what it adds (2,n,C), and its heads.

    The text's share is zeros, so that what a slot gives is what the identity adds.
    """
    clone = model.clone()
    found: Added = {}

    def no_text(q: torch.Tensor, *_: Any) -> torch.Tensor:
        return torch.zeros_like(q)

    def watch(inner: Attention) -> Attention:
        def attn2(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
            out = inner(q, k, v, extra_options)
            slot = (*extra_options["block"], extra_options["block_index"])
            assert slot not in found, "a layer ran twice"
            found[slot] = (q.clone(), out.clone(), extra_options["n_heads"])
            return out

        return attn2

    for slot in SDXL.slots:
        clone.set_model_attn2_replace(no_text, *slot)
    clone = around_attention(clone, watch)
    positive, negative = (conditioning(official, side) for side in SIDES)
    predict(clone, positive, negative, noise_of(official, clone, 501), 501)
    return found


@pytest.fixture(scope="module")
def shares(
    adapter_weights: dict[str, dict[str, torch.Tensor]], official: dict[str, torch.Tensor]
) -> Any:
    """Return what layer `slot` of the file adds to queries: the file's own tensors, one by one."""
    tokens = torch.cat([official[f"out.tokens_{side}"] for side in SIDES])
    file, numbers = adapter_weights["ip_adapter"], layer_numbers()
    projected = {
        slot: [linear(tokens, file[f"{number}.to_{part}_ip.weight"]) for part in "kv"]
        for slot, number in numbers.items()
    }

    def share(slot: Slot, q: torch.Tensor, heads: int) -> torch.Tensor | None:
        k, v = projected[slot]
        same_width = k.shape[-1] == q.shape[-1]
        return WEIGHT * attention(q, k, v, heads) if same_width else None

    return share


def distances(
    added: Added, shares: Any
) -> tuple[dict[Slot, float], dict[tuple[Slot, Slot], float]]:
    """Return how far each slot is from its own layer, and from every other layer of its width."""
    own: dict[Slot, float] = {}
    others: dict[tuple[Slot, Slot], float] = {}
    for slot, (q, out, heads) in added.items():
        # ComfyUI evaluates both sides in one batch; which comes first is its own affair.
        order = [0, 1] if distance(out, shares(slot, q, heads)) < ANOTHER else [1, 0]
        for layer in SDXL.slots:
            wanted = shares(layer, q[order], heads)
            if wanted is not None:
                others[slot, layer] = distance(out[order], wanted)
        own[slot] = others.pop((slot, slot))
    return own, others


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Norm of the difference over the norm of what was wanted; the worse of both rows."""
    difference = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    return float(difference.max())


def test_a_real_unet_fires_70_layers_and_each_adds_its_own_weights_and_no_other_s(
    tiny_model: Any, identity: Any, official: dict[str, torch.Tensor], shares: Any
) -> None:
    added = record(host.apply_adapter(tiny_model, identity, weight=WEIGHT), official)
    assert set(added) == set(SDXL.slots) and len(added) == 70
    own, others = distances(added, shares)
    assert max(own.values()) < ROUNDING
    # All pairs that could be swapped: 10 layers of one width, 60 of the other.
    assert len(others) == 10 * 9 + 60 * 59
    assert min(others.values()) > ANOTHER


@pytest.mark.parametrize("pair", [(60, 69), (0, 59)])
def test_two_layers_swapped_are_noticed(
    tiny_model: Any,
    identity: Any,
    official: dict[str, torch.Tensor],
    shares: Any,
    pair: tuple[int, int],
) -> None:
    wrong = host.apply_adapter(tiny_model, swapped(identity, pair), weight=WEIGHT)
    own, _ = distances(record(wrong, official), shares)
    noticed = {slot for slot, error in own.items() if error > ANOTHER}
    assert noticed == {SDXL.slots[i] for i in pair}


def swapped(identity: Identity, pair: tuple[int, int]) -> Identity:
    """Return the identity with K and V of two slots of one width exchanged."""
    channels = [64 if slot[:2] in NARROW else 128 for slot in SDXL.slots]

    def swap(side: IdentitySide) -> IdentitySide:
        parts = list(side.kv.split([2 * 16 * c for c in channels]))
        parts[pair[0]], parts[pair[1]] = parts[pair[1]], parts[pair[0]]
        return IdentitySide(side.tokens, torch.cat(parts))

    return Identity(
        identity.face_embedding,
        identity.negative_embedding,
        swap(identity.positive),
        swap(identity.negative),
    )


NARROW = (("input", 4), ("input", 5), ("output", 3), ("output", 4), ("output", 5))
