"""One call of the UNet with decoupled cross-attention in every slot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.ldm.modules.attention
from torch import Tensor

from ..attention import add_identity
from ..errors import WrongInputError
from ..masks import LaidMask
from ..weighting import Adding
from . import rows as row_tags
from . import sampling
from .adapter_run import AdapterRun, CallMask
from .resident import KV

Attention = Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Tensor]


def predict(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor | None = None,
    y: Tensor | None = None,
    control: Any = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """DIFFUSION_MODEL: run the UNet with every slot composed."""
    tags = sampling.without_tags(kwargs)
    options = transformer_options or {}
    if options.get(sampling.TERMS):
        options = _composed(options, x, timesteps, tags)
    return executor(x, timesteps, context, y, control, options, **kwargs)


def _composed(
    options: dict[str, Any], x: Tensor, timesteps: Tensor, tags: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return a copy of `options` whose attn2 slots also add what the open terms give.

    tags: still there where somebody calls the UNet without ComfyUI's own call around it.
    """
    run = options.get(sampling.RUN) or AdapterRun(options[sampling.TERMS])
    rows = options.get(sampling.ROWS) or row_tags.read(x, tags, options)
    terms = _open_terms(run, rows, x, run.noise_level(options.get("sigmas"), timesteps))
    replaced = options.get("patches_replace", {})
    attn2 = dict(replaced.get("attn2", {}))
    for position, slot in enumerate(run.layout.family.slots):
        here = tuple(part for term in terms if (part := term.in_slot(position)) is not None)
        if here:
            before = attn2.get(slot, replaced.get("attn2", {}).get(slot[:2]))
            attn2[tuple(slot)] = SlotAttention(before, here, len(rows.roles))
    return {**options, "patches_replace": {**replaced, "attn2": attn2}}


@dataclass(frozen=True, eq=False)
class SlotTerm:
    """What one term adds to one slot in one call.

    kv: K and V, (R,N,C) each. keeps_length: whether its share is brought to the length of the
    text's.
    """

    kv: KV
    weight: float
    mask: CallMask | None
    keeps_length: bool

    def repeated(self, repeats: int) -> KV:
        """(R*repeats,N,C) each: K and V where the rows of the call are there so often."""
        if repeats == 1:
            return self.kv
        k, v = self.kv
        return k.repeat(repeats, 1, 1), v.repeat(repeats, 1, 1)

    def laid(self, q: Tensor, activations: Sequence[int] | None, repeats: int) -> LaidMask | None:
        """Return the mask on a layer's queries (B*repeats,n,C); None is everywhere."""
        if self.mask is None:
            return None
        laid = self.mask.on_layer(q, activations)
        if repeats == 1 or len(laid.values) == 1:
            return laid
        return LaidMask(laid.values.repeat(repeats, 1, 1, 1), laid.corner, laid.grid)


@dataclass(frozen=True, eq=False)
class OpenTerm:
    """What one term adds to one call. slots: K and V of each slot; weight: with the curve's."""

    slots: Sequence[KV]
    weight: float
    slot_factors: Sequence[float]
    mask: CallMask | None
    keeps_length: bool

    def in_slot(self, position: int) -> SlotTerm | None:
        """Return its part of the slot at `position`, None where the term leaves it alone."""
        weight = self.weight * self.slot_factors[position]
        if weight == 0.0:
            return None
        return SlotTerm(self.slots[position], weight, self.mask, self.keeps_length)


def _open_terms(
    run: AdapterRun, rows: row_tags.Rows, x: Tensor, noise_level: float | None
) -> list[OpenTerm]:
    """Return what the terms at work in this call add to it."""
    at_work = run.open_terms(noise_level, rows.roles)
    if not at_work:
        return []
    resident = run.resident(x.device, x.dtype)
    sides = run.sides(rows)
    masks = run.call_masks(rows, x, noise_level)
    return [
        OpenTerm(
            resident.kv(i, sides[i]),
            run.weight(i, noise_level),
            run.terms[i].slot_factors,
            masks[i],
            run.terms[i].adding is Adding.KEEP_LENGTH,
        )
        for i in at_work
    ]


@dataclass(frozen=True, eq=False)
class SlotAttention:
    """The cross-attention of one slot: what was there before, plus the identities.

    rows: how many the call has.
    """

    before: Attention | None
    terms: tuple[SlotTerm, ...]
    rows: int

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """q (B,n,C), k and v (B,N,C) of the text -> (B,n,C), before to_out."""
        if self.before is not None:
            return self.added(self.before(q, k, v, extra_options), q, extra_options)
        out = attend(q, k, v, extra_options)
        own = not out.requires_grad and "optimized_attention_override" not in extra_options
        return self.added(out, q, extra_options, in_place=own)

    def added(
        self, out: Tensor, q: Tensor, extra_options: dict[str, Any], *, in_place: bool = False
    ) -> Tensor:
        """Return what the text gave, `out`, plus the identities; in_place: it may be written."""
        activations = extra_options.get("activations_shape")
        attention = functools.partial(attend_exactly, extra_options=extra_options)
        repeats = _repeats(q, self.rows)
        text = out if any(term.keeps_length for term in self.terms) else None
        if text is not None and len(self.terms) > 1:
            in_place = False  # its length is asked for again
        for term in self.terms:
            added = add_identity(
                out,
                q,
                *term.repeated(repeats),
                term.weight,
                term.laid(q, activations, repeats),
                attention,
                in_place=in_place,
                length_of=text if term.keeps_length else None,
            )
            in_place = in_place or (added is not out and not added.requires_grad)
            out = added
        return out


def _repeats(q: Tensor, rows: int) -> int:
    """Return how often another pack repeats the call's rows inside attention."""
    repeats, rest = divmod(q.shape[0], rows)
    if rest or repeats == 0:
        raise WrongInputError(
            f"Another node hands {q.shape[0]} rows to a cross-attention layer in a call of "
            f"{rows}, so InstantID cannot tell which of them is whose. Attention-couple "
            "nodes do that: use ComfyUI's own regional prompts (Conditioning Set Mask) instead, "
            "with Set Person of Conditioning."
        )
    return repeats


def attend(q: Tensor, k: Tensor, v: Tensor, extra_options: Mapping[str, Any]) -> Tensor:
    """Return what ComfyUI's attention gives, with what it is told for this layer."""
    return _attention(q, k, v, extra_options)


def attend_exactly(q: Tensor, k: Tensor, v: Tensor, extra_options: Mapping[str, Any]) -> Tensor:
    """Return the same without kernels of low precision: a face has few tokens, all of them count.

    Where such a kernel is in use, the text's own attention keeps it.
    """
    return _attention(q, k, v, extra_options, low_precision_attention=False)


def _attention(
    q: Tensor, k: Tensor, v: Tensor, extra_options: Mapping[str, Any], **asked: bool
) -> Tensor:
    """Of what another pack tells a layer only the number of heads is certain."""
    return comfy.ldm.modules.attention.optimized_attention(
        q,
        k,
        v,
        extra_options["n_heads"],
        attn_precision=extra_options.get("attn_precision"),
        transformer_options=extra_options,
        **asked,
    )
