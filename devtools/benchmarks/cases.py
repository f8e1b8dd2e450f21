"""What is measured: each case gives, for every row of its table, variants to be timed in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor
from torch.nn.functional import linear

from ...instantid_core.host import apply_adapter, apply_identitynet
from ...instantid_core.identity import Identity
from ...instantid_core.people import People, Person
from ...instantid_core.unet_layout import measure_unet
from . import models as m
from .timing import Clock, MeaninglessError, Timings, paired

NAIVE_WEIGHT = 0.8
LARGEST = 1024  # pixels of a picture that is not asked for
PARTS = {"people": 3, "size": 5}  # rounds are divided by this
Variant = tuple[Any, list[Any], list[Any]]  # MODEL, positive, negative
# Name, size, pictures at once, variants; the first is bare.
Row = tuple[str, m.Size, int, dict[str, Variant]]


@dataclass(frozen=True)
class Settings:
    """How much is measured. sizes: pixels of the square picture. rounds: of all variants."""

    sizes: Sequence[int]
    rounds: int
    calls: int = 1


def bare(models: m.Models) -> Variant:
    return models.model, models.positive, models.negative


def adapter(models: m.Models, identity: Identity | People) -> Variant:
    return apply_adapter(models.model, identity), models.positive, models.negative


def naive(models: m.Models, identity: Identity) -> Variant:
    """The baseline: the adapter as it is usually built, two projections in each of the 70 slots.

    K and V are projected anew in every layer and call. It is right for plain CFG and nothing else;
    it is here so that every ratio is taken in one run.
    """
    clone = models.model.clone()
    layout = measure_unet(clone.model.diffusion_model)
    tokens = torch.cat([identity.positive.tokens, identity.negative.tokens])
    for slot, channels in zip(layout.family.slots, layout.channels, strict=True):
        patch = _naive_patch(tokens, (2, channels, layout.context_width))
        clone.set_model_attn2_replace(patch, *slot)
    return clone, models.positive, models.negative


def _naive_patch(tokens: Tensor, shape: tuple[int, int, int]) -> Callable[..., Tensor]:
    """shape: of the weights, which are made at the first call: until then they hold no memory."""
    made: list[Tensor] = []

    def patch(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        sides = extra_options["cond_or_uncond"]
        face = tokens.to(q)[sides].repeat_interleave(q.shape[0] // len(sides), dim=0)
        heads = extra_options["n_heads"]
        if not made:
            made.append(torch.randn(shape, device=q.device, dtype=q.dtype) * shape[-1] ** -0.5)
        to_k, to_v = made[0]
        share = optimized_attention(q, linear(face, to_k), linear(face, to_v), heads)
        return optimized_attention(q, k, v, heads) + NAIVE_WEIGHT * share

    return patch


def identitynet(models: m.Models, who: Identity | People, size: m.Size, **options: Any) -> Variant:
    hint = m.keypoints(size) if isinstance(who, Identity) else None
    sides = (models.positive, models.negative)
    return models.model, *apply_identitynet(*sides, models.control_net, who, hint, **options)


def both(models: m.Models, who: Identity | People, size: m.Size, **options: Any) -> Variant:
    _, positive, negative = identitynet(models, who, size, **options)
    return apply_adapter(models.model, who), positive, negative


def chained(models: m.Models, people: People) -> Variant:
    """The usual recipe: every person with conditionings of their own, which are then combined."""
    model, sides = models.model, (models.positive, models.negative, models.control_net)
    positive: list[Any] = []
    negative: list[Any] = []
    for person in people.persons:
        model = apply_adapter(model, person.identity, mask=person.mask)
        own = apply_identitynet(*sides, person.identity, person.faces, mask=person.mask)
        positive, negative = positive + own[0], negative + own[1]
    return model, positive, negative


def row(models: m.Models, names: Sequence[str], size: m.Size, batch: int | None = None) -> Row:
    """Variants of these names beside the bare UNet, with one person.

    batch: how many pictures at once, where that is what the rows differ in.
    """
    identity = models.identity(1)
    variants = {
        "adapter": adapter(models, identity),
        "naive adapter": naive(models, identity),
        "IdentityNet": identitynet(models, identity, size),
        "both": both(models, identity, size),
    }
    made = {"bare UNet": bare(models), **{name: variants[name] for name in names}}
    name = f"{size}x{size}" if batch is None else f"{batch} of {size}x{size}"
    return name, size, batch or 1, made


def by_size(*names: str) -> Callable[[m.Models, Settings], Iterator[Row]]:
    """Rows of these variants by the picture sizes that are asked for."""
    return lambda models, settings: (row(models, names, size) for size in settings.sizes)


def people_rows(models: m.Models, settings: Settings) -> Iterator[Row]:
    """People, each in a column, in one pass; beside it IdentityNet one by one and the usual recipe.

    At the smallest size, as the two others take long; they are left out of 8 people.
    """
    size = min(settings.sizes)
    for count in (1, 2, 4, 8):
        people = crowd(models, size, count)
        variants = {"bare UNet": bare(models), "one pass": both(models, people, size)}
        if count in (2, 4):
            variants["IdentityNet one by one"] = both(models, people, size, one_by_one=True)
            variants["chained recipe"] = chained(models, people)
        yield f"{count} at {size}x{size}", size, 1, variants


def crowd(models: m.Models, size: m.Size, count: int) -> People:
    """`count` people side by side, each in a column of their own."""
    persons: list[Person] = []
    width, height = m.width_and_height(size)
    for place in range(count):
        mask = torch.zeros(1, height, width)
        mask[:, :, place * width // count : (place + 1) * width // count] = 1.0
        persons.append(Person(models.identity(place + 1), m.keypoints(size, place, count), mask))
    return People(tuple(persons))


def size_rows(models: m.Models, settings: Settings) -> Iterator[Row]:
    """Pictures of the smallest size asked for, of twice and four times its side."""
    least = min(settings.sizes)
    for size in [least, *(side for side in (2 * least, 4 * least) if side <= LARGEST)]:
        yield row(models, ("both",), size)


CASES: dict[str, Callable[[m.Models, Settings], Iterator[Row]]] = {
    "adapter": by_size("adapter", "naive adapter"),
    "identitynet": by_size("adapter", "IdentityNet", "both"),
    "people": people_rows,
    "batch": lambda models, settings: (
        row(models, ("adapter", "both"), settings.sizes[0], batch) for batch in (1, 2, 4)
    ),
    "size": size_rows,
}


def paced(settings: Settings, case: str) -> Settings:
    """Return the settings of a case: what takes long gets a part of the rounds."""
    return replace(settings, rounds=-(-settings.rounds // PARTS.get(case, 1)))


def measure(models: m.Models, row: Row, settings: Settings) -> Timings:
    """Time one row of a case.

    Errors: MeaninglessError if a variant changes nothing, or is not finite.
    """
    name, size, batch, variants = row
    x, clock = m.noise(size, batch), Clock(models.device)
    results: dict[str, torch.Tensor] = {}

    def work(variant: str) -> float:
        seconds, results[variant] = m.calls(*variants[variant], x, settings.calls, clock)
        return min(seconds)

    timings = paired({variant: partial(work, variant) for variant in variants}, settings.rounds)
    base = results[timings.base]
    for variant, result in results.items():
        if not bool(result.isfinite().all()):
            raise MeaninglessError(
                f"{name}: '{variant}' predicts values that are not finite in {models.dtype}; "
                "nothing could be told from them. Choose another --dtype."
            )
        if not variant.startswith(timings.base) and torch.equal(result, base):  # or it, compiled
            raise MeaninglessError(
                f"{name}: '{variant}' predicts the same as '{timings.base}' to the last bit. "
                "InstantID was not applied, and its time would mean nothing."
            )
    return timings
