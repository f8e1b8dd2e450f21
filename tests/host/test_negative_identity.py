"""Another identity on the negative side; without one not a bit of an identity changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.nodes.faces import EncodeFace, MixIdentities

from .given_faces import GivenFaces

EMBEDDINGS = list(torch.randn(2, 512, generator=torch.Generator().manual_seed(8)))
NOBODY = NoIdentity("Encode Face found nobody.")


def encoded(adapter: Any, **inputs: Any) -> Any:
    """The identity of the first photo, from Encode Face."""
    analyzer = GivenFaces(EMBEDDINGS)
    return EncodeFace.execute(
        analyzer, adapter, analyzer.photos[:1], "largest", 0, "mean", "error", **inputs
    )[0]


@pytest.fixture(scope="module")
def other(adapter: Any) -> Any:
    return host.encode_identity(adapter, EMBEDDINGS[1])


def bits(identity: Any) -> list[torch.Tensor]:
    sides = (identity.positive, identity.negative)
    both = [tensor for side in sides for tensor in (side.tokens, side.kv)]
    return [identity.face_embedding, identity.negative_embedding, *both]


@pytest.mark.parametrize("nothing", ["not connected", "weight 0", "bypassed"])
def test_without_a_negative_identity_not_a_bit_changes(
    adapter: Any, other: Any, nothing: str
) -> None:
    inputs = {
        "not connected": {"negative_weight": 1.0},
        "weight 0": {"negative_identity": other, "negative_weight": 0.0},
        "bypassed": {"negative_identity": NOBODY},
    }[nothing]
    today = host.encode_identity(adapter, EMBEDDINGS[0])  # with the negative side of zeros
    assert not today.negative_embedding.any()
    plain = encoded(adapter, **inputs)
    with listening() as heard:
        mixed = MixIdentities.execute(adapter, today, other, 0.0, "mean", **inputs)[0]
    assert all(map(torch.equal, bits(plain), bits(today)))
    assert all(map(torch.equal, bits(mixed), bits(today)))
    assert plain.negative is today.negative  # all identities of an adapter share it
    said = [f"No negative identity is used. {NOBODY.reason}"] if nothing == "bypassed" else []
    assert heard.problems == said
    noisy = encoded(adapter, negative_noise=0.3, noise_seed=5, **inputs)
    assert torch.equal(
        noisy.negative_embedding,
        encoded(adapter, negative_noise=0.3, noise_seed=5).negative_embedding,
    )


def test_the_other_person_stands_on_the_negative_side_as_far_as_asked(
    adapter: Any, other: Any
) -> None:
    whole = encoded(adapter, negative_identity=other, negative_weight=1.0)
    assert torch.equal(whole.negative_embedding, EMBEDDINGS[1])
    assert torch.equal(whole.negative.kv, other.positive.kv)
    assert torch.equal(whole.positive.kv, encoded(adapter).positive.kv)
    part = encoded(adapter, negative_identity=other, negative_weight=0.25)
    assert torch.equal(part.negative_embedding, EMBEDDINGS[1] * 0.25)
    mixed = MixIdentities.execute(adapter, whole, other, 0.5, "mean", other, 0.5)[0]
    assert torch.allclose(mixed.negative_embedding, EMBEDDINGS[1])  # the first's own, and half


def test_noise_and_another_person_add_up(adapter: Any, other: Any) -> None:
    noise = {"negative_noise": 0.3, "noise_seed": 5}
    both = encoded(adapter, negative_identity=other, **noise)
    alone = encoded(adapter, **noise)
    wanted = alone.negative_embedding + EMBEDDINGS[1] * 0.5
    assert torch.equal(both.negative_embedding, wanted)


def test_what_is_no_identity_is_refused(adapter: Any) -> None:
    with pytest.raises(WrongInputError, match="`negative_identity` is a dictionary"):
        encoded(adapter, negative_identity={})
