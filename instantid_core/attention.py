"""The identity's share of cross-attention, as a pure function.

Source: InstantID `ip_adapter/attention_processor.py` (decoupled cross-attention of IP-Adapter,
arXiv 2308.06721, section 3.2.2): the same queries and the same scale, K and V of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from .masks import LaidMask

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def add_identity(
    text: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    weight: float,
    mask: LaidMask | None,
    attend: Attend,
    *,
    in_place: bool,
    length_of: Tensor | None = None,
) -> Tensor:
    """Return text + weight * mask * attend(q, K, V); where the mask is 0 nothing is computed.

    text: (B,n,C) what cross-attention gave so far; written into where `in_place` is true.
    q: (B,n,C) queries. k, v: (R,N,C) of the identity, each for B/R rows in a row. mask: None is 1
    in every cell.
    attend: scaled dot-product attention over heads, (R,m,C),(R,N,C),(R,N,C) -> (R,m,C).
    length_of: (B,n,C), what cross-attention gave without any identity; the identity's share is
    brought to its length before it is weighted, see `to_length`. None: it is added as it is.
    """
    if k.dtype != q.dtype:
        k, v = k.to(q.dtype), v.to(q.dtype)
    if mask is None:
        identity = _by_sides(q, k, v, attend)
        if length_of is not None:
            identity = identity * to_length(length_of, identity)
        return text.add_(identity, alpha=weight) if in_place else text.add(identity, alpha=weight)
    if mask.is_empty:
        return text
    queries = mask.cut(q)
    identity = attend(queries.reshape(len(k), -1, q.shape[-1]), k, v).view_as(queries)
    factors = mask.values
    if length_of is not None:
        factors = factors * to_length(mask.cut(length_of) * factors, identity * factors)
    out = text if in_place else text.clone()
    mask.cut(out).addcmul_(identity, factors, value=weight)
    return out


def _by_sides(q: Tensor, k: Tensor, v: Tensor, attend: Attend) -> Tensor:
    """(B,n,C) -> (B,n,C): rows that share a side are queries of one row."""
    if len(q) == len(k):
        return attend(q, k, v)
    return attend(q.reshape(len(k), -1, q.shape[-1]), k, v).view_as(q)


def to_length(wanted: Tensor, x: Tensor) -> Tensor:
    """Return (B,1,...): the factor that gives `x` the length of `wanted`, row by row of the batch.

    The length is the L2 norm over all that a row has; of nothing it stays nothing: the factor is
    0. Source: the norm-kept adding of UniID.
    """
    target, own = _length(wanted), _length(x)
    factor = torch.where(own > 0, target / own, 0.0)
    return factor.clamp(max=torch.finfo(x.dtype).max).to(x.dtype)


def _length(x: Tensor) -> Tensor:
    """(B,...) -> (B,1,...) float32: the L2 norm of all that a row has."""
    dims = list(range(1, x.ndim))
    linalg = cast(Any, torch.linalg)
    return linalg.vector_norm(x, dim=dims, keepdim=True, dtype=torch.float32)
